//! Steps of optimizers: a parameter changed by its gradient and by what is remembered of earlier ones.

use std::iter;

use super::same_place;
use crate::{DType, Error, Result, Tensor};

/// How a parameter p is changed by its gradient g, as torch's optimizers do it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) where the decay is decoupled: torch's `Adam` and `AdamW`. States: the
    /// running means of g and of g².
    Adam {
        /// The learning rate.
        lr: f64,
        /// How much of the running means is kept from step to step.
        betas: (f64, f64),
        /// Added to the root of the mean square, so that nothing is divided by zero.
        eps: f64,
        /// How much of p is added to g; if the decay is decoupled, how much of it, times the learning rate, is taken off p.
        weight_decay: f64,
        /// Whether the decay goes past the running means.
        decoupled: bool,
        /// The number of this step, from 1 on.
        step: u64,
    },
    /// Stochastic gradient descent, torch's `SGD`. State: with momentum, the running sum of g.
    Sgd {
        /// The learning rate.
        lr: f64,
        /// How much of the running sum is kept from step to step; 0 keeps none.
        momentum: f64,
        /// How much of g the running sum is not given.
        dampening: f64,
        /// Whether p is changed by g and the running sum together (Nesterov 1983).
        nesterov: bool,
        /// How much of p is added to g.
        weight_decay: f64,
        /// Whether the running sum begins with this g.
        first: bool,
    },
    /// Lion (Chen et al. 2023): p goes by the learning rate in the direction of the sign. State: the running mean of g.
    Lion {
        /// The learning rate.
        lr: f64,
        /// How much of the running mean counts in the sign, and how much of it is kept from step to step.
        betas: (f64, f64),
        /// How much of p, times the learning rate, is taken off it.
        weight_decay: f64,
    },
    /// Adagrad (Duchi et al. 2011), torch's `Adagrad`. State: the sum of g².
    Adagrad {
        /// The learning rate of this step.
        lr: f64,
        /// Added to the root of the sum.
        eps: f64,
        /// How much of p is added to g.
        weight_decay: f64,
    },
    /// RMSprop (Hinton 2012), torch's `RMSprop`. State: the running mean of g².
    RmsProp {
        /// The learning rate.
        lr: f64,
        /// How much of the running mean is kept from step to step.
        alpha: f64,
        /// Added to the root of the mean.
        eps: f64,
        /// How much of p is added to g.
        weight_decay: f64,
    },
}

impl Update {
    /// The optimizer's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Update::Adam { decoupled: true, .. } => "adamw_",
            Update::Adam { .. } => "adam_",
            Update::Sgd { .. } => "sgd_",
            Update::Lion { .. } => "lion_",
            Update::Adagrad { .. } => "adagrad_",
            Update::RmsProp { .. } => "rmsprop_",
        }
    }

    /// How many tensors, each of the parameter's shape, it remembers things in.
    pub fn states(&self) -> usize {
        match self {
            Update::Adam { .. } => 2,
            Update::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Update::Lion { .. } | Update::Adagrad { .. } | Update::RmsProp { .. } => 1,
        }
    }
}

/// What is remembered of every element of a parameter.
#[derive(Clone, Copy)]
pub enum Kept<'a> {
    /// Floats, of the parameter's shape.
    Whole(&'a Tensor),
    /// In 8 bits each (Dettmers et al. 2022): the number of a fraction of the largest of 256 neighbours.
    Coded {
        /// (elements), uint8
        codes: &'a Tensor,
        /// (blocks of 256), float32
        scales: &'a Tensor,
        /// Whether there are negative fractions too.
        signed: bool,
    },
}

impl<'a> Kept<'a> {
    /// How many elements of a state in 8 bits share a scale.
    pub const BLOCK: usize = 256;

    pub(crate) fn tensors(&self) -> impl Iterator<Item = &'a Tensor> + use<'a> {
        let (first, second) = match *self {
            Kept::Whole(tensor) => (tensor, None),
            Kept::Coded { codes, scales, .. } => (codes, Some(scales)),
        };
        iter::once(first).chain(second)
    }

    /// Whether it is for a parameter like this.
    fn check(&self, parameter: &Tensor) -> Result<()> {
        match *self {
            Kept::Whole(tensor) => expect_alike(parameter, tensor),
            Kept::Coded { codes, scales, .. } => {
                let count = parameter.numel();
                let fits = codes.dtype() == DType::U8 && codes.shape() == [count];
                if fits && scales.dtype() == DType::F32 && scales.shape() == [count.div_ceil(Kept::BLOCK)] {
                    return Ok(());
                }
                let message = "a state in 8 bits has a code for each element and a scale for each 256";
                Err(Error::argument("update", message))
            }
        }
    }
}

/// A parameter that is to be changed.
pub struct Change<'a> {
    /// How.
    pub update: Update,
    /// Floats.
    pub parameter: &'a Tensor,
    /// Floats of the same shape.
    pub grad: &'a Tensor,
    /// What [`Update`] says that it remembers.
    pub states: Vec<Kept<'a>>,
}

/// Changes parameters and states in place by one step, all in one pass. Nothing of it is recorded.
///
/// # Errors
/// `Shapes` when those of a parameter differ in shape; `DType` for other than floats; `Argument` for another number of states than an update
/// has, for step 0, and when what is changed is not contiguous, is read-only, or shares memory with anything else. Nothing is changed then.
pub fn update(changes: &[Change]) -> Result<()> {
    changes.iter().try_for_each(Change::check)?;
    let grads: Vec<_> =
        changes.iter().map(|change| change.grad.detach().contiguous()).collect::<Result<_>>()?;
    let changes: Vec<Change> = changes
        .iter()
        .zip(&grads)
        .map(|(change, grad)| Change { grad, states: change.states.clone(), ..*change })
        .collect();
    expect_apart(&changes)?;
    let Some(first) = changes.first() else { return Ok(()) };
    same_place("update", changes.iter().map(|change| change.parameter))?;
    changes.iter().flat_map(Change::changed).for_each(|tensor| tensor.storage().bump_version());
    first.parameter.backend().update(&changes)
}

impl<'a> Change<'a> {
    /// What is written.
    fn changed(&self) -> impl Iterator<Item = &'a Tensor> {
        iter::once(self.parameter).chain(self.states.iter().flat_map(Kept::tensors))
    }

    fn check(&self) -> Result<()> {
        let Change { update, parameter, grad, states } = self;
        if states.len() != update.states() {
            let message = format!("the update has {} states, got {}", update.states(), states.len());
            return Err(Error::argument("update", message));
        }
        if let Update::Adam { step: 0, .. } = update {
            return Err(Error::argument("update", "steps are counted from 1"));
        }
        parameter.expect_float("update")?;
        expect_alike(parameter, grad)?;
        states.iter().try_for_each(|state| state.check(parameter))?;
        same_place("update", self.changed().chain([*grad]))?;
        if self.changed().any(|tensor| !tensor.is_contiguous() || !tensor.storage().is_writable()) {
            return Err(Error::argument("update", "parameter and states must be contiguous and writable"));
        }
        Ok(())
    }
}

fn expect_alike(parameter: &Tensor, other: &Tensor) -> Result<()> {
    other.expect_float("update")?;
    if other.shape() == parameter.shape() {
        return Ok(());
    }
    let rule = "parameter, gradient and states must have one shape";
    let (left, right) = (parameter.shape().into(), other.shape().into());
    Err(Error::Shapes { op: "update", rule, left, right })
}

/// All are changed at once, so that nobody may look at what another writes.
fn expect_apart(changes: &[Change]) -> Result<()> {
    let range = |tensor: &Tensor, is_written: bool| {
        let first = tensor.as_ptr() as usize;
        (first, first + tensor.numel() * tensor.dtype().size(), is_written)
    };
    let written = changes.iter().flat_map(Change::changed).map(|tensor| range(tensor, true));
    let mut ranges: Vec<_> = written.chain(changes.iter().map(|change| range(change.grad, false))).collect();
    ranges.retain(|(first, end, _)| first < end);
    ranges.sort_unstable();
    let (mut seen, mut seen_written) = (0, 0);
    for (first, end, is_written) in ranges {
        if first < if is_written { seen } else { seen_written } {
            return Err(Error::argument(
                "update",
                "what is changed must not share memory with anything else",
            ));
        }
        seen = seen.max(end);
        seen_written = if is_written { seen_written.max(end) } else { seen_written };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::draw;

    type Numbers = Vec<f64>;

    fn take(update: Update, parameter: &Tensor, grad: &Tensor, states: &[&Tensor]) -> Result<()> {
        let states = states.iter().copied().map(Kept::Whole).collect();
        super::update(&[Change { update, parameter, grad, states }])
    }

    fn numbers(tensor: &Tensor) -> Numbers {
        tensor.to_dtype(DType::F64).unwrap().contiguous().unwrap().as_slice::<f64>().unwrap().to_vec()
    }

    /// The formulas as their papers and torch's documentation have them, an element at a time.
    fn told(rule: &Update, p: &mut f64, mut g: f64, states: &mut [f64]) {
        match *rule {
            Update::Adam { lr, betas: (b1, b2), eps, weight_decay, decoupled, step } => {
                if decoupled {
                    *p -= lr * weight_decay * *p;
                } else {
                    g += weight_decay * *p;
                }
                states[0] = b1 * states[0] + (1.0 - b1) * g;
                states[1] = b2 * states[1] + (1.0 - b2) * g * g;
                let (m, v) =
                    (states[0] / (1.0 - b1.powf(step as f64)), states[1] / (1.0 - b2.powf(step as f64)));
                *p -= lr * m / (v.sqrt() + eps);
            }
            Update::Sgd { lr, momentum, dampening, nesterov, weight_decay, first } => {
                g += weight_decay * *p;
                if momentum != 0.0 {
                    states[0] = if first { g } else { momentum * states[0] + (1.0 - dampening) * g };
                    g = if nesterov { g + momentum * states[0] } else { states[0] };
                }
                *p -= lr * g;
            }
            Update::Lion { lr, betas: (b1, b2), weight_decay } => {
                let direction = b1 * states[0] + (1.0 - b1) * g;
                let sign = if direction == 0.0 { 0.0 } else { direction.signum() };
                *p -= lr * (weight_decay * *p + sign);
                states[0] = b2 * states[0] + (1.0 - b2) * g;
            }
            Update::Adagrad { lr, eps, weight_decay } => {
                g += weight_decay * *p;
                states[0] += g * g;
                *p -= lr * g / (states[0].sqrt() + eps);
            }
            Update::RmsProp { lr, alpha, eps, weight_decay } => {
                g += weight_decay * *p;
                states[0] = alpha * states[0] + (1.0 - alpha) * g * g;
                *p -= lr * g / (states[0].sqrt() + eps);
            }
        }
    }

    fn rules(step: u64) -> Vec<Update> {
        let (lr, weight_decay, eps) = (0.01, 0.1, 1e-6);
        let adam = |decoupled| Update::Adam { lr, betas: (0.8, 0.95), eps, weight_decay, decoupled, step };
        let sgd = |momentum, nesterov| Update::Sgd {
            lr,
            momentum,
            dampening: if nesterov { 0.0 } else { 0.2 },
            nesterov,
            weight_decay,
            first: step == 1,
        };
        vec![
            adam(true),
            adam(false),
            sgd(0.0, false),
            sgd(0.9, false),
            sgd(0.9, true),
            Update::Lion { lr, betas: (0.9, 0.99), weight_decay },
            Update::Adagrad { lr, eps, weight_decay },
            Update::RmsProp { lr, alpha: 0.9, eps, weight_decay },
        ]
    }

    #[test]
    fn every_update_equals_its_formula() {
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::BF16, 5e-2)] {
            for which in 0..rules(1).len() {
                let parameter = draw(&[70, 41], (-1.0, 1.0), 1).to_dtype(dtype).unwrap();
                let states: Vec<_> =
                    (0..rules(1)[which].states()).map(|_| parameter.zeros_like().unwrap()).collect();
                let mut p = numbers(&parameter);
                let mut remembered = vec![vec![0.0; states.len()]; p.len()];
                for step in 1..4 {
                    let rule = rules(step)[which];
                    let mut grad = draw(&[70, 41], (-1.0, 1.0), 10 + step).to_dtype(dtype).unwrap();
                    if step == 1 {
                        // Nothing at all is a gradient too.
                        grad = grad.mul(&grad.gt(0.0).unwrap().to_dtype(dtype).unwrap()).unwrap();
                    }
                    take(rule, &parameter, &grad, &states.iter().collect::<Vec<_>>()).unwrap();
                    for ((p, g), states) in p.iter_mut().zip(numbers(&grad)).zip(&mut remembered) {
                        told(&rule, p, g, states);
                    }
                }
                let off = p.iter().zip(numbers(&parameter)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off <= tolerance, "{dtype} {:?}: {off}", rules(1)[which]);
            }
        }
    }

    #[test]
    fn misfits_are_refused() {
        let (x, y) = (Tensor::zeros(&[2]).unwrap(), Tensor::zeros(&[3]).unwrap());
        let [adam, sgd] = [0, 2].map(|which| rules(1)[which]);
        assert!(take(adam, &x, &y, &[&x, &x]).is_err());
        assert!(take(adam, &x, &x, &[&x]).is_err());
        assert!(take(rules(0)[0], &x, &x, &[&x, &x]).is_err());
        let whole = Tensor::from_slice(&[1i64, 2], &[2]).unwrap();
        assert!(take(sgd, &whole, &whole, &[]).is_err());
        let column = Tensor::zeros(&[2, 3]).unwrap().transpose(0, 1).unwrap();
        assert!(take(sgd, &column, &column, &[]).is_err());
        let [grad, mean] = [(); 2].map(|()| Tensor::zeros(&[2]).unwrap());
        assert!(take(adam, &x, &grad, &[&mean, &mean]).is_err());
        assert!(take(sgd, &x, &x, &[]).is_err());
        let coded = Kept::Coded { codes: &mean, scales: &mean, signed: true };
        let states = vec![coded, coded];
        assert!(super::update(&[Change { update: adam, parameter: &x, grad: &grad, states }]).is_err());
    }

    #[test]
    fn many_parameters_of_all_sizes_are_changed_in_one_pass_as_each_alone() {
        let shapes: [&[usize]; 7] = [&[3], &[0], &[1024], &[70, 1000], &[], &[16385], &[5]];
        let drawn =
            |seed: u64| shapes.map(|shape| draw(shape, (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap());
        let grads = drawn(7);
        let run = |together: bool| {
            let (parameters, means) = (drawn(1), drawn(2));
            let squares = drawn(3).map(|x| x.square().unwrap());
            let change = |i: usize| Change {
                update: rules(3)[0],
                parameter: &parameters[i],
                grad: &grads[i],
                states: vec![Kept::Whole(&means[i]), Kept::Whole(&squares[i])],
            };
            match together {
                true => super::update(&(0..7).map(change).collect::<Vec<_>>()).unwrap(),
                false => (0..7).for_each(|i| super::update(&[change(i)]).unwrap()),
            }
            let all = [parameters, means, squares].concat();
            all.iter()
                .flat_map(|x| x.as_slice::<f32>().unwrap().to_vec())
                .map(f32::to_bits)
                .collect::<Vec<_>>()
        };
        let together = run(true);
        assert_eq!(together, run(false));
        let before = crate::pool::num_threads();
        for threads in [1, 3] {
            crate::pool::set_num_threads(threads).unwrap();
            assert_eq!(together, run(true), "{threads} threads");
        }
        crate::pool::set_num_threads(before).unwrap();
    }
}
