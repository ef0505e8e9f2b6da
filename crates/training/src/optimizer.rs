//! Optimizers: groups of parameters, each with a method, and what is remembered of each parameter.

use std::collections::BTreeMap;

use trustformers_tensor::ops::{self, Change, Kept};
use trustformers_tensor::{Tensor, autograd};

use crate::{Error, Method, Result};

/// Parameters that are changed with the same settings.
pub struct Group {
    /// The method with its settings.
    pub method: Method,
    /// The parameters, which are leaves.
    pub parameters: Vec<Tensor>,
}

/// What is remembered of a parameter from step to step.
#[derive(Clone, Default)]
pub struct State {
    /// How many steps it has taken.
    pub step: u64,
    /// Tensors by the names that torch has for them: "exp_avg", ...
    pub tensors: BTreeMap<String, Tensor>,
}

impl State {
    /// A tensor of the state, made at the first step.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        make: impl FnOnce() -> trustformers_tensor::Result<Tensor>,
    ) -> Result<Tensor> {
        if let Some(tensor) = self.tensors.get(name) {
            return Ok(tensor.clone());
        }
        let made = make()?.detach();
        self.tensors.insert(name.into(), made.clone());
        Ok(made)
    }

    /// The same, a number for each of the parameter's, at first zero.
    pub(crate) fn whole(&mut self, name: &str, parameter: &Tensor) -> Result<Memory> {
        Ok(Memory::Whole(self.tensor(name, || parameter.zeros_like())?))
    }
}

/// The tensors of a [`Kept`].
pub(crate) enum Memory {
    Whole(Tensor),
    Coded { codes: Tensor, scales: Tensor, signed: bool },
}

impl Memory {
    fn kept(&self) -> Kept<'_> {
        match self {
            Memory::Whole(tensor) => Kept::Whole(tensor),
            Memory::Coded { codes, scales, signed } => Kept::Coded { codes, scales, signed: *signed },
        }
    }
}

/// Changes parameters by their gradients.
///
/// ```
/// use trustformers_tensor::Tensor;
/// use trustformers_training::{Adam, Group, Method, Optimizer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let weight = Tensor::ones(&[2], trustformers_tensor::DType::F32)?;
/// weight.set_requires_grad(true)?;
/// let group = Group { method: Method::AdamW(Adam::default()), parameters: vec![weight.clone()] };
/// let mut optimizer = Optimizer::new(vec![group])?;
/// weight.square()?.sum_all()?.backward(None)?;
/// optimizer.step()?;
/// optimizer.zero_grad()?;
/// # Ok(())
/// # }
/// ```
pub struct Optimizer {
    groups: Vec<Group>,
    states: Vec<Vec<State>>,
}

impl Optimizer {
    /// An optimizer of groups of parameters.
    ///
    /// # Errors
    /// `Setting` for settings that cannot be, parameters that are no leaves, and one that is in two places.
    pub fn new(groups: Vec<Group>) -> Result<Optimizer> {
        let mut optimizer = Optimizer { groups: vec![], states: vec![] };
        groups.into_iter().try_for_each(|group| optimizer.add(group))?;
        Ok(optimizer)
    }

    /// Adds a group.
    ///
    /// # Errors
    /// As [`Optimizer::new`].
    pub fn add(&mut self, group: Group) -> Result<()> {
        group.method.check()?;
        for (index, parameter) in group.parameters.iter().enumerate() {
            if !parameter.is_leaf() {
                return Err(Error::Setting("can't optimize a non-leaf Tensor".into()));
            }
            let known = self.groups.iter().flat_map(|group| &group.parameters);
            if known.chain(&group.parameters[..index]).any(|other| other.is(parameter)) {
                let message = "some parameters appear in more than one place of the parameter groups";
                return Err(Error::Setting(message.into()));
            }
        }
        self.states.push(vec![State::default(); group.parameters.len()]);
        self.groups.push(group);
        Ok(())
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The method of a group, to change its settings; [`Optimizer::step`] checks them.
    pub fn method_mut(&mut self, group: usize) -> Option<&mut Method> {
        self.groups.get_mut(group).map(|group| &mut group.method)
    }

    /// What is remembered of each parameter, by group.
    pub fn states(&self) -> &[Vec<State>] {
        &self.states
    }

    /// Takes up what another optimizer of such parameters remembered.
    ///
    /// # Errors
    /// `State` when there are not as many groups and parameters.
    pub fn set_states(&mut self, mut states: Vec<Vec<State>>) -> Result<()> {
        let shape = |states: &[Vec<State>]| states.iter().map(Vec::len).collect::<Vec<_>>();
        if shape(&states) != shape(&self.states) {
            return Err(Error::State(format!(
                "loaded state dict has groups of {:?} parameters where the optimizer has {:?}",
                shape(&states),
                shape(&self.states)
            )));
        }
        for (group, states) in self.groups.iter().zip(&mut states) {
            for (parameter, state) in group.parameters.iter().zip(states) {
                for tensor in state.tensors.values_mut() {
                    *tensor = tensor.to_device(parameter.device())?;
                }
            }
        }
        self.states = states;
        Ok(())
    }

    /// Changes every parameter that has a gradient, in place and all in one pass. Nothing of it is recorded.
    ///
    /// # Errors
    /// `Setting` for settings that cannot be; `Tensor` when a gradient or a state does not fit.
    pub fn step(&mut self) -> Result<()> {
        let Optimizer { groups, states } = self;
        groups.iter().try_for_each(|group| group.method.check())?;
        autograd::no_grad(|| {
            let mut plans = Vec::new();
            for (group, states) in groups.iter().zip(states) {
                for (parameter, state) in group.parameters.iter().zip(states) {
                    let Some(grad) = parameter.grad() else { continue };
                    state.step += 1;
                    if let Some((update, memory)) = group.method.plan(parameter, &grad, state)? {
                        plans.push((update, parameter, grad, memory));
                    }
                }
            }
            let changes = plans.iter().map(|(update, parameter, grad, memory)| {
                let states = memory.iter().map(Memory::kept).collect();
                Change { update: *update, parameter, grad, states }
            });
            Ok(ops::update(&changes.collect::<Vec<_>>())?)
        })
    }

    /// Takes the gradients of all parameters away.
    pub fn zero_grad(&self) -> Result<()> {
        for parameter in self.groups.iter().flat_map(|group| &group.parameters) {
            parameter.set_grad(None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use trustformers_tensor::DType;

    use super::*;
    use crate::{Adafactor, Adagrad, Adam, Lion, RmsProp, Sgd};

    fn leaf(values: &[f32]) -> Tensor {
        let leaf = Tensor::from_slice(values, &[values.len()]).unwrap();
        leaf.set_requires_grad(true).unwrap();
        leaf
    }

    fn distance(x: &Tensor) -> Tensor {
        x.sub(3.0).unwrap().square().unwrap().sum_all().unwrap()
    }

    fn methods() -> Vec<Method> {
        let adam = Adam { lr: 0.3, weight_decay: 0.0, ..Adam::default() };
        vec![
            Method::Adam(adam),
            Method::AdamW(adam),
            Method::AdamW8bit(adam),
            Method::Sgd(Sgd { lr: 0.05, momentum: 0.8, nesterov: true, ..Sgd::default() }),
            Method::Lion(Lion { lr: 0.02, ..Lion::default() }),
            Method::Adagrad(Adagrad { lr: 1.0, ..Adagrad::default() }),
            Method::RmsProp(RmsProp { lr: 0.03, ..RmsProp::default() }),
            Method::Adafactor(Adafactor::default()),
        ]
    }

    #[test]
    fn every_method_comes_closer() {
        for method in methods() {
            let x = leaf(&[-1.0, 0.5, 4.0]);
            let group = Group { method: method.clone(), parameters: vec![x.clone()] };
            let mut optimizer = Optimizer::new(vec![group]).unwrap();
            let before = distance(&x).item().unwrap().to_f64();
            for _ in 0..200 {
                optimizer.zero_grad().unwrap();
                distance(&x).backward(None).unwrap();
                optimizer.step().unwrap();
            }
            let after = distance(&x).item().unwrap().to_f64();
            assert!(after < 0.5 * before, "{method:?}: {before} to {after}");
            assert_eq!(optimizer.states()[0][0].step, 200);
        }
    }

    #[test]
    fn groups_have_their_own_settings_and_states_go_on() {
        let [x, y] = [leaf(&[1.0]), leaf(&[1.0])];
        let group = |lr, parameter: &Tensor| Group {
            method: Method::Sgd(Sgd { lr, momentum: 0.9, ..Sgd::default() }),
            parameters: vec![parameter.clone()],
        };
        let mut optimizer = Optimizer::new(vec![group(0.1, &x), group(0.0, &y)]).unwrap();
        let step = |optimizer: &mut Optimizer| {
            optimizer.zero_grad().unwrap();
            distance(&x).add(&distance(&y)).unwrap().backward(None).unwrap();
            optimizer.step().unwrap();
        };
        step(&mut optimizer);
        assert_eq!(y.item().unwrap().to_f64(), 1.0);
        assert!((x.item().unwrap().to_f64() - 1.4).abs() < 1e-6);

        let (states, place) = (optimizer.states().to_vec(), x.copy().unwrap().detach());
        let copied: Vec<Vec<State>> = states
            .iter()
            .map(|group| {
                let copy = |state: &State| State {
                    step: state.step,
                    tensors: state
                        .tensors
                        .iter()
                        .map(|(name, tensor)| (name.clone(), tensor.copy().unwrap()))
                        .collect(),
                };
                group.iter().map(copy).collect()
            })
            .collect();
        step(&mut optimizer);
        let expected = x.item().unwrap().to_f64();
        autograd::no_grad(|| x.become_(&place)).unwrap();
        let mut again = Optimizer::new(vec![group(0.1, &x), group(0.0, &y)]).unwrap();
        again.set_states(copied).unwrap();
        step(&mut again);
        assert_eq!(x.item().unwrap().to_f64(), expected);
        again.method_mut(0).unwrap().set_lr(0.0);
        step(&mut again);
        assert_eq!(x.item().unwrap().to_f64(), expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let x = leaf(&[1.0]);
        let with =
            |method: Method, parameters: Vec<Tensor>| Optimizer::new(vec![Group { method, parameters }]);
        let adam = Adam::default();
        assert!(with(Method::AdamW(Adam { lr: -1.0, ..adam }), vec![x.clone()]).is_err());
        assert!(with(Method::AdamW(Adam { lr: f64::NAN, ..adam }), vec![x.clone()]).is_err());
        assert!(with(Method::AdamW(Adam { betas: (1.0, 0.9), ..adam }), vec![x.clone()]).is_err());
        assert!(with(Method::Sgd(Sgd { nesterov: true, ..Sgd::default() }), vec![x.clone()]).is_err());
        assert!(with(Method::AdamW(adam), vec![x.clone(), x.clone()]).is_err());
        assert!(with(Method::AdamW(adam), vec![x.mul(2.0).unwrap()]).is_err());
        let mut optimizer = with(Method::AdamW(adam), vec![x.clone()]).unwrap();
        assert!(optimizer.set_states(vec![]).is_err());
        let whole = Tensor::zeros_of(&[1], DType::F32).unwrap();
        assert!(optimizer.add(Group { method: Method::AdamW(adam), parameters: vec![whole] }).is_ok());
    }

    #[test]
    fn parameters_without_gradients_stay() {
        for method in methods() {
            let x = leaf(&[1.0, 2.0]);
            let mut optimizer = Optimizer::new(vec![Group { method, parameters: vec![x.clone()] }]).unwrap();
            optimizer.step().unwrap();
            assert_eq!(x.detach().as_slice::<f32>().unwrap(), [1.0, 2.0]);
            assert_eq!(optimizer.states()[0][0].step, 0);
        }
    }
}
