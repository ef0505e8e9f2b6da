//! The linear layer, and what stands before and behind it.

use std::iter;

use super::{activations, expect_width, gated, layer_norm, rms_norm, same_place, vector};
use crate::autograd::{Backward, Grads, is_grad_enabled, record};
use crate::{Activation, DType, Error, Matrix, Quantized, Result, Shape, Tensor, Weight, Workspace};

/// `activation(x @ weightᵀ + bias)`: `x` (.., in), `bias` (out), result (.., out) in the dtype of `x`, into which the weights are
/// converted. Equals torch's `F.linear`.
///
/// # Errors
/// `Shapes` when the last dimension of `x` is not the weight's `in`, or the bias has not `out` elements; `DType` for other than floats.
pub fn linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let then = Then::Activate(activation);
    LinearStep { x, norm: None, weight, bias, then, dtype: None }.run(&mut Workspace::default())
}

/// `then(norm(x) @ weightᵀ + bias)`: a linear layer with the norm before it and what is done to its result, as one step. With few rows
/// the matrix is all that takes time, and what else there is to do costs less within the same step than as steps of its own.
#[derive(Clone, Copy)]
pub struct LinearStep<'a> {
    /// (.., in) of floats, activations of its device where speed matters.
    pub x: &'a Tensor,
    /// What `x` goes through first.
    pub norm: Option<Norm<'a>>,
    /// (out, in)
    pub weight: &'a Weight,
    /// (out)
    pub bias: Option<&'a Tensor>,
    /// What becomes of the sums.
    pub then: Then<'a>,
    /// The dtype of the result, if it is not that of `x`.
    pub dtype: Option<DType>,
}

/// What is done to the sums of a linear layer.
#[derive(Clone, Copy)]
pub enum Then<'a> {
    /// A function of each.
    Activate(Activation),
    /// The first half is a gate for the second, see [`super::gated`]: half as many results.
    Gate(Activation),
    /// This is added, of the result's shape.
    Add(&'a Tensor),
}

impl Then<'_> {
    /// What becomes of `sums` (.., out).
    ///
    /// # Errors
    /// As for the operation of its kind.
    pub fn apply(self, sums: &Tensor) -> Result<Tensor> {
        match self {
            Then::Activate(activation) => activation.apply(sums),
            Then::Gate(activation) => gated(sums, activation),
            Then::Add(residual) => sums.add(residual),
        }
    }
}

/// A norm over the last dimension.
#[derive(Clone, Copy)]
pub enum Norm<'a> {
    /// [`super::layer_norm`]
    Layer {
        /// (width)
        weight: &'a Tensor,
        /// (width)
        bias: Option<&'a Tensor>,
        /// What is added to the variance.
        eps: f32,
    },
    /// [`super::rms_norm`]
    Rms {
        /// (width)
        weight: &'a Tensor,
        /// What is added to the mean square.
        eps: f32,
    },
}

impl<'a> Norm<'a> {
    /// Normalises `x` (.., width).
    ///
    /// # Errors
    /// As for the norm of its kind.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match *self {
            Norm::Layer { weight, bias, eps } => layer_norm(x, None, weight, bias, eps),
            Norm::Rms { weight, eps } => rms_norm(x, weight, eps),
        }
    }

    fn vectors(&self) -> impl Iterator<Item = &'a Tensor> + use<'a> {
        let (weight, bias) = match *self {
            Norm::Layer { weight, bias, .. } => (weight, bias),
            Norm::Rms { weight, .. } => (weight, None),
        };
        iter::once(weight).chain(bias)
    }
}

impl<'a> LinearStep<'a> {
    /// The result, in memory of the `workspace` if it has some.
    ///
    /// # Errors
    /// `Shapes` when the tensors do not fit one another, `Argument` for outputs that have no halves and should; `DType` for other than
    /// floats.
    pub fn run(&self, workspace: &mut Workspace) -> Result<Tensor> {
        let shape = self.check()?;
        if self.x.is_autocast() {
            let x = self.norm.map_or_else(|| Ok(self.x.clone()), |norm| norm.apply(self.x))?.autocast()?;
            return LinearStep { x: &x, norm: None, ..*self }.run(workspace);
        }
        let dtype = self.dtype.unwrap_or(self.x.dtype());
        if self.is_taken(dtype) && !(self.weight.requires_grad() && is_grad_enabled()) {
            let out = workspace.take(&shape, dtype, self.x.device())?;
            self.x.backend().linear(&out, self)?;
            return Ok(out);
        }
        let normed = self.norm.map(|norm| norm.apply(self.x)).transpose()?;
        let step = LinearStep { x: normed.as_ref().unwrap_or(self.x), norm: None, ..*self };
        let out = match self.then {
            Then::Activate(activation) => activated(&step, activation, workspace)?,
            then => then.apply(&activated(&step, Activation::Identity, workspace)?)?,
        };
        self.dtype.map_or(Ok(out.clone()), |dtype| out.to_dtype(dtype))
    }

    /// Whether the device takes everything as it is, and no gradient is asked for any tensor but the weight.
    fn is_taken(&self, dtype: DType) -> bool {
        let backend = self.x.backend();
        let are_floats = self.operands().all(|operand| {
            backend.takes(operand.dtype())
                && operand.is_contiguous()
                && !(operand.requires_grad() && is_grad_enabled())
        });
        let is_added = match self.then {
            Then::Add(residual) => residual.dtype() == dtype,
            _ => true,
        };
        are_floats && is_added && (dtype == self.x.dtype() || dtype == DType::F32)
    }

    /// All tensors but the weight.
    fn operands(&self) -> impl Iterator<Item = &'a Tensor> + use<'a> {
        let residual = if let Then::Add(residual) = self.then { Some(residual) } else { None };
        let norm = self.norm.into_iter().flat_map(|norm| norm.vectors());
        iter::once(self.x).chain(norm).chain(self.bias).chain(residual)
    }

    /// The shape of the result, if everything fits.
    fn check(&self) -> Result<Shape> {
        let LinearStep { x, weight, bias, .. } = *self;
        self.operands().try_for_each(|operand| operand.expect_float("linear"))?;
        same_place("linear", self.operands().chain(weight.parts().iter().map(Matrix::memory)))?;
        if x.shape().last() != Some(&weight.in_features()) {
            let right = [weight.out_features(), weight.in_features()].into_iter().collect();
            let rule = "the last dimension of x must be the second of the weight";
            return Err(Error::Shapes { op: "linear", rule, left: x.shape().into(), right });
        }
        for vector in self.norm.iter().flat_map(Norm::vectors) {
            let rule = "a norm must have the last dimension of x";
            expect_width("linear", rule, x, weight.in_features(), vector)?;
        }
        if let Some(bias) = bias {
            let rule = "the bias must have one element per output";
            expect_width("linear", rule, x, weight.out_features(), bias)?;
        }
        let mut shape = Shape::from(x.shape());
        shape[x.ndim() - 1] = weight.out_features();
        match self.then {
            Then::Activate(_) => {}
            Then::Gate(_) if weight.out_features() % 2 == 0 => shape[x.ndim() - 1] /= 2,
            Then::Gate(_) => {
                let message =
                    format!("the outputs must be gates and what they gate, got {}", weight.out_features());
                return Err(Error::argument("linear", message));
            }
            Then::Add(residual) if residual.shape() == shape.as_slice() => {}
            Then::Add(residual) => {
                let rule = "what is added must have the shape of the result";
                return Err(Error::Shapes {
                    op: "linear",
                    rule,
                    left: shape.to_vec(),
                    right: residual.shape().into(),
                });
            }
        }
        Ok(shape)
    }
}

/// `activation(x @ weightᵀ + bias)` of any floats, with its gradient; in the dtype of the step where that is computed at once.
fn activated(step: &LinearStep, activation: Activation, workspace: &mut Workspace) -> Result<Tensor> {
    let LinearStep { x, weight, bias, dtype: step_dtype, .. } = *step;
    if !x.backend().takes(x.dtype()) {
        let parts = weight.parts().iter().map(|part| part.to_dtype(x.dtype())).collect::<Result<Vec<_>>>()?;
        return activation.apply(&composed(x, &parts, bias)?);
    }
    let (plain, converted) = (activations(x, x.dtype())?, bias.map(vector).transpose()?);
    let asked = x.requires_grad() || weight.requires_grad() || bias.is_some_and(Tensor::requires_grad);
    let asked = asked && is_grad_enabled();
    // The gradient of an activation needs what went into it.
    let then = Then::Activate(if asked { Activation::Identity } else { activation });
    let step = LinearStep { x: &plain, norm: None, weight, bias: converted.as_ref(), then, dtype: None };
    let dtype = if step_dtype == Some(DType::F32) { DType::F32 } else { x.dtype() };
    let out = workspace.take(&step.check()?, dtype, x.device())?;
    x.backend().linear(&out, &step)?;
    if !asked {
        return Ok(out);
    }
    // Blocks are no tensors that a gradient could be asked for: x alone may need one of them.
    let dense = weight.parts().iter().filter_map(Matrix::dense);
    let sources: Vec<&Tensor> = iter::once(x).chain(dense.clone()).chain(bias).collect();
    let saved = &sources[..=dense.count()];
    let blocks: Vec<Option<Quantized>> =
        weight.parts().iter().map(|part| part.quantized().cloned()).collect();
    activation.apply(&record("linear", out, &sources, saved, move |b| gradients(b, &blocks)))
}

/// The same as one operation after another.
fn composed(x: &Tensor, parts: &[Tensor], bias: Option<&Tensor>) -> Result<Tensor> {
    let parts: Vec<Tensor> = parts.iter().map(|part| part.to_dtype(x.dtype())).collect::<Result<_>>()?;
    let weight = Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?;
    let product = x.matmul(&weight.mt()?)?;
    bias.map_or(Ok(product.clone()), |bias| product.add(&bias.to_dtype(x.dtype())?))
}

/// With y = x Wᵀ + b: dx = g W, dW = gᵀ x, db = Σ g over all rows; for each part of W its columns of g. The parts that are not in
/// `blocks` were saved.
fn gradients(b: &Backward, blocks: &[Option<Quantized>]) -> Result<Grads> {
    let (x, mut dense) = (&b.saved[0], b.saved[1..].iter());
    let two = |t: &Tensor| match t.ndim() {
        1 => t.unsqueeze(0),
        2 => Ok(t.clone()),
        _ => t.flatten(0, -2),
    };
    // Of a result that is wider than x.
    let (g, x_rows) = (two(&b.grad().to_dtype(x.dtype())?)?, two(x)?);
    let mut grads = vec![None];
    let (mut start, mut into_x) = (0, None);
    for blocks in blocks {
        let part = match blocks {
            Some(blocks) => Matrix::from(blocks.clone()),
            None => match dense.next() {
                Some(part) => Matrix::from(part.clone()),
                None => break,
            },
        };
        let end = start + part.shape()[0];
        let columns = g.narrow(1, start, end)?;
        if b.needs(0) {
            let from_part = columns.matmul(&part.to_dtype(x.dtype())?)?;
            into_x = Some(match into_x {
                None => from_part,
                Some(sum) => from_part.add(&sum)?,
            });
        }
        if blocks.is_none() {
            grads.push(b.when(grads.len(), || columns.mt()?.matmul(&x_rows))?);
        }
        start = end;
    }
    let restore = |grad: Tensor| if grad.shape() == x.shape() { Ok(grad) } else { grad.view(x.shape()) };
    grads[0] = into_x.map(restore).transpose()?;
    if b.has(grads.len()) {
        grads.push(b.when(grads.len(), || g.sum(&[0], false))?);
    }
    Ok(grads)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::BlockFormat;
    use crate::testing::{check_gradient, draw, same_gradients};

    fn reference(x: &[f32], w: &[f32], bias: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
        (0..m * n)
            .map(|i| {
                let (row, col) = (i / n, i % n);
                let sum: f64 = (0..k).map(|j| f64::from(x[row * k + j]) * f64::from(w[col * k + j])).sum();
                (sum + f64::from(bias[col])) as f32
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_the_sum_of_products(m in 0usize..20, k in 0usize..70, n in 1usize..40, seed in 0u32..1000) {
            let draw = |i: usize| ((i as f32 + seed as f32) * 0.7391).sin();
            let x: Vec<f32> = (0..m * k).map(draw).collect();
            let w: Vec<f32> = (0..n * k).map(|i| draw(i + 17)).collect();
            let bias: Vec<f32> = (0..n).map(|i| draw(i + 5)).collect();
            // Two parts must give what one matrix gives.
            let cut = n / 2;
            let parts = vec![
                Tensor::from_slice(&w[..cut * k], &[cut, k]).unwrap(),
                Tensor::from_slice(&w[cut * k..], &[n - cut, k]).unwrap(),
            ];
            let weight = Weight::new(parts).unwrap();
            let bias_tensor = Tensor::from_slice(&bias, &[n]).unwrap();
            let x_tensor = Tensor::from_slice(&x, &[m, k]).unwrap();
            let y = linear(&x_tensor, &weight, Some(&bias_tensor), Activation::Identity).unwrap();
            prop_assert_eq!(y.shape(), [m, n]);
            for (got, want) in y.as_slice::<f32>().unwrap().iter().zip(reference(&x, &w, &bias, (m, k, n))) {
                prop_assert!((got - want).abs() <= 1e-4, "{} != {}", got, want);
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_composed_form() {
        for (shape, dtype) in
            [(&[4, 3, 5][..], DType::F32), (&[5], DType::F32), (&[0, 5], DType::F32), (&[2, 5], DType::BF16)]
        {
            let inputs: Vec<Tensor> = [shape, &[3, 5], &[4, 5], &[7]]
                .iter()
                .enumerate()
                .map(|(i, shape)| {
                    draw(shape, (-1.0, 1.0), i as u64)
                        .to_dtype(if i == 0 { DType::F32 } else { dtype })
                        .unwrap()
                })
                .collect();
            for activation in [Activation::Identity, Activation::Gelu] {
                same_gradients(
                    "linear",
                    &inputs,
                    2e-5,
                    |x| linear(&x[0], &Weight::new(x[1..3].to_vec())?, Some(&x[3]), activation),
                    |x| activation.apply(&composed(&x[0], &x[1..3], Some(&x[3]))?),
                );
                same_gradients(
                    "linear",
                    &inputs[..3],
                    2e-5,
                    |x| linear(&x[0], &Weight::new(x[1..].to_vec())?, None, activation),
                    |x| activation.apply(&composed(&x[0], &x[1..], None)?),
                );
            }
        }
        check_gradient("linear", &[&[2, 3], &[4, 3], &[4]], (-1.0, 1.0), 1, |x| {
            linear(&x[0], &Weight::new(vec![x[1].clone()])?, Some(&x[2]), Activation::Tanh)
        });
    }

    #[test]
    fn a_step_is_what_stands_in_it_one_after_another() {
        let float = |shape: &[usize], seed| draw(shape, (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap();
        let workspace = &mut Workspace::default();
        // Few rows, more, and so many that they go another way.
        for rows in [1, 3, 7, 20, 70] {
            let inputs = [
                float(&[rows, 64], 1),
                float(&[64], 2),
                float(&[64], 3),
                float(&[40], 4),
                float(&[rows, 40], 5),
            ];
            let blocks =
                |rows, seed| Quantized::quantize(&float(&[rows, 64], seed), BlockFormat::Q4_1).unwrap();
            let turned = float(&[64, 40], 8).mt().unwrap();
            let weights = [
                Weight::new([float(&[20, 64], 6), float(&[20, 64], 7)]).unwrap(),
                Weight::new([turned]).unwrap(),
                Weight::new([blocks(40, 9)]).unwrap(),
                Weight::new([blocks(20, 10), blocks(20, 11)]).unwrap(),
                // Halves that are not parts.
                Weight::new([blocks(8, 12), blocks(32, 13)]).unwrap(),
            ];
            let [x, scale, shift, bias, residual] = &inputs;
            let norms = [
                None,
                Some(Norm::Layer { weight: scale, bias: Some(shift), eps: 1e-5 }),
                Some(Norm::Layer { weight: scale, bias: None, eps: 1e-5 }),
                Some(Norm::Rms { weight: scale, eps: 1e-5 }),
            ];
            for (weight, norm) in
                weights.iter().flat_map(|weight| norms.iter().map(move |norm| (weight, norm)))
            {
                let normed = norm.map_or(Ok(x.clone()), |norm| norm.apply(x)).unwrap();
                for bias in [None, Some(bias)] {
                    let plain = linear(&normed, weight, bias, Activation::Identity).unwrap();
                    for (then, want) in [
                        (Then::Activate(Activation::Gelu), Activation::Gelu.apply(&plain).unwrap()),
                        (Then::Gate(Activation::Silu), gated(&plain, Activation::Silu).unwrap()),
                        (Then::Add(residual), plain.add(residual).unwrap()),
                    ] {
                        let step = LinearStep { x, norm: *norm, weight, bias, then, dtype: None };
                        let got = step.run(workspace).unwrap();
                        let most =
                            |x: &Tensor| x.abs().unwrap().amax(&[], false).unwrap().item().unwrap().to_f64();
                        let off = most(&got.sub(&want).unwrap());
                        // What is read in another way rounds what it is multiplied with in another way.
                        assert!(off < 1e-4 * most(&want).max(1.0), "{rows} rows: off by {off}");
                        workspace.give(got);
                    }
                }
            }
        }
    }

    #[test]
    fn the_gradient_of_a_step_is_that_of_its_parts() {
        let shapes: [&[usize]; 5] = [&[3, 6], &[6], &[8, 6], &[8], &[3, 8]];
        fn step(x: &[Tensor], then: Then) -> Result<Tensor> {
            let norm = Some(Norm::Rms { weight: &x[1], eps: 1e-5 });
            let weight = &Weight::new([x[2].clone()])?;
            LinearStep { x: &x[0], norm, weight, bias: Some(&x[3]), then, dtype: None }
                .run(&mut Workspace::default())
        }
        check_gradient("a step that adds", &shapes, (0.5, 1.5), 1, |x| step(x, Then::Add(&x[4])));
        check_gradient("a step that gates", &shapes[..4], (0.5, 1.5), 1, |x| {
            step(x, Then::Gate(Activation::Silu))
        });
        let misfits =
            [Then::Add(&Tensor::zeros(&[3, 7]).unwrap()), Then::Gate(Activation::Silu)].map(|then| {
                let (x, weight) = (Tensor::zeros(&[3, 6]).unwrap(), Tensor::zeros(&[7, 6]).unwrap());
                let weight = Weight::new([weight]).unwrap();
                LinearStep { x: &x, norm: None, weight: &weight, bias: None, then, dtype: None }
                    .run(&mut Workspace::default())
                    .is_err()
            });
        assert_eq!(misfits, [false, true]);
    }

    #[test]
    fn blocks_give_what_their_numbers_do() {
        for format in [BlockFormat::Q4_1, BlockFormat::Int8] {
            let blocks = Quantized::quantize(&draw(&[6, 64], (-1.0, 1.0), 1), format).unwrap();
            let (numbers, dense) = (blocks.dequantize().unwrap(), draw(&[3, 64], (-1.0, 1.0), 2));
            let dense = dense.to_dtype(DType::F32).unwrap();
            // So many rows go another way.
            let many = draw(&[150, 64], (-1.0, 1.0), 3).to_dtype(DType::F32).unwrap();
            let weight = Weight::new([blocks.clone()]).unwrap();
            let got = linear(&many, &weight, None, Activation::Identity).unwrap();
            let want = many.matmul(&numbers.mt().unwrap()).unwrap();
            let off = got.sub(&want).unwrap().abs().unwrap().amax(&[], false).unwrap();
            assert!(off.item().unwrap().to_f64() < 0.05, "{format}: off by {off:?}");
            let inputs = [draw(&[2, 64], (-1.0, 1.0), 3).to_dtype(DType::F32).unwrap(), dense];
            let run = |x: &[Tensor], first: Matrix| {
                let weight = Weight::new([first, x[1].clone().into()])?;
                linear(&x[0], &weight, None, Activation::Tanh)
            };
            same_gradients(
                "linear",
                &inputs,
                2e-2,
                |x| run(x, blocks.clone().into()),
                |x| run(x, numbers.clone().into()),
            );
            let half = run(&inputs.each_ref().map(|x| x.to_dtype(DType::BF16).unwrap()), blocks.into());
            assert_eq!(half.unwrap().dtype(), DType::BF16);
        }
    }

    #[test]
    fn a_changed_weight_is_packed_anew() {
        let part = Tensor::ones(&[2, 3], DType::F32).unwrap();
        let weight = Weight::new(vec![part.clone()]).unwrap();
        let x = Tensor::ones(&[1, 3], DType::F32).unwrap();
        let run =
            || linear(&x, &weight, None, Activation::Identity).unwrap().as_slice::<f32>().unwrap().to_vec();
        assert_eq!(run(), [3.0, 3.0]);
        part.mul_(2.0).unwrap();
        assert_eq!(run(), [6.0, 6.0]);
        weight.unpack();
        assert_eq!(run(), [6.0, 6.0]);
    }

    #[test]
    fn a_passing_weight_gives_what_a_lasting_one_does() {
        // Of bfloat16 a lasting one may be multiplied with rounded numbers.
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 1e-5), (DType::BF16, 2e-2)] {
            let part = draw(&[40, 30], (-1.0, 1.0), 1).to_dtype(dtype).unwrap();
            for part in [part.clone(), part.mt().unwrap().copy().unwrap().mt().unwrap()] {
                let x = draw(&[5, 30], (-1.0, 1.0), 2).to_dtype(DType::F32).unwrap();
                let run = |weight: Weight| linear(&x, &weight, None, Activation::Gelu).unwrap();
                let (lasting, passing) = (Weight::new(vec![part.clone()]), Weight::passing(part));
                let (lasting, passing) = (run(lasting.unwrap()), run(passing.unwrap()));
                let both = [&lasting, &passing].map(|result| result.as_slice::<f32>().unwrap());
                for (lasting, passing) in both[0].iter().zip(both[1]) {
                    assert!((lasting - passing).abs() <= tolerance * (1.0 + passing.abs()), "{dtype:?}");
                }
            }
        }
    }

    #[test]
    fn misfits_name_both_shapes() {
        let weight = Weight::new(vec![Tensor::zeros(&[3, 4]).unwrap()]).unwrap();
        let error =
            linear(&Tensor::zeros(&[2, 5]).unwrap(), &weight, None, Activation::Identity).unwrap_err();
        assert!(error.to_string().contains("[2, 5]") && error.to_string().contains("[3, 4]"), "{error}");
        let bias = Tensor::zeros(&[4]).unwrap();
        assert!(
            linear(&Tensor::zeros(&[2, 4]).unwrap(), &weight, Some(&bias), Activation::Identity).is_err()
        );
    }
}
