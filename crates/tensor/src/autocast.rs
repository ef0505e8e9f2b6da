//! Mixed precision (Micikevicius et al. 2018): within a scope, products are computed in 16 bits, everything else as it was.

use std::cell::Cell;

use crate::{DType, Error, Result, Tensor};

thread_local! {
    static DTYPE: Cell<Option<DType>> = const { Cell::new(None) };
}

/// What the operands of products are rounded to on this thread: `None` for nothing.
///
/// Within such a scope the linear layer, matrix products and attention take their operands, float32 or of 16 bits, as this dtype, and so
/// are their results; parameters stay as they are and get gradients of their own dtype. What adds up, norms and losses among it, is in
/// float32 where one of its operands is. torch's `autocast` for the same operations.
pub fn autocast() -> Option<DType> {
    DTYPE.get()
}

/// Begins such a scope, or ends it, and says what was before.
///
/// # Errors
/// `DType` for other than float16 and bfloat16.
pub fn set_autocast(dtype: Option<DType>) -> Result<Option<DType>> {
    match dtype {
        None | Some(DType::F16 | DType::BF16) => Ok(DTYPE.replace(dtype)),
        Some(dtype) => {
            let rule = "products can be cast to float16 and to bfloat16";
            Err(Error::DType { op: "autocast", rule, dtype })
        }
    }
}

/// Runs `work` in a scope, and restores what was before, even if `work` panics.
pub fn with_autocast<R>(dtype: Option<DType>, work: impl FnOnce() -> R) -> R {
    struct Restore(Option<DType>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DTYPE.set(self.0);
        }
    }
    let _restore = Restore(DTYPE.replace(dtype));
    work()
}

impl Tensor {
    /// As the operand of a product in the scope of this thread: itself outside of one, and where it is of other dtypes.
    pub(crate) fn autocast(&self) -> Result<Tensor> {
        match (autocast(), self.dtype()) {
            (Some(dtype), DType::F32 | DType::F16 | DType::BF16) => self.to_dtype(dtype),
            _ => Ok(self.clone()),
        }
    }

    /// Whether the scope of this thread changes it.
    pub(crate) fn is_autocast(&self) -> bool {
        let is_other =
            |dtype| matches!(self.dtype(), DType::F32 | DType::F16 | DType::BF16) && self.dtype() != dtype;
        autocast().is_some_and(is_other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Attention, LinearStep, Norm, Ragged, Then};
    use crate::testing::draw;
    use crate::{Activation, Weight, Workspace, autograd};

    fn numbers(shape: &[usize], seed: u64) -> Tensor {
        draw(shape, (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap()
    }

    fn values(x: &Tensor) -> Vec<f32> {
        let x = x.detach().to_dtype(DType::F32).unwrap().contiguous().unwrap();
        x.as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn products_are_of_rounded_operands_and_parameters_stay() {
        let (x, scale, weight, bias) =
            (numbers(&[5, 16], 1), numbers(&[16], 2), numbers(&[8, 16], 3), numbers(&[8], 4));
        let residual = numbers(&[5, 8], 5);
        for parameter in [&scale, &weight, &bias] {
            parameter.set_requires_grad(true).unwrap();
        }
        for dtype in [DType::F16, DType::BF16] {
            let rounded = |x: &Tensor| x.to_dtype(dtype).unwrap();
            let norm = Norm::Rms { weight: &scale, eps: 1e-6 };
            let run = |then| {
                let matrix = Weight::new([weight.clone()])?;
                let step = LinearStep {
                    x: &x,
                    norm: Some(norm),
                    weight: &matrix,
                    bias: Some(&bias),
                    then,
                    dtype: None,
                };
                step.run(&mut Workspace::default())
            };
            let out = with_autocast(Some(dtype), || run(Then::Activate(Activation::Identity))).unwrap();
            let normed = rounded(&norm.apply(&x).unwrap());
            let wanted =
                normed.matmul(&rounded(&weight).mt().unwrap()).unwrap().add(&rounded(&bias)).unwrap();
            assert_eq!((out.dtype(), values(&out)), (dtype, values(&wanted)));
            // A sum with what is float32 is float32.
            let sum = with_autocast(Some(dtype), || run(Then::Add(&residual))).unwrap();
            assert_eq!((sum.dtype(), values(&sum)), (DType::F32, values(&out.add(&residual).unwrap())));
            let grads =
                autograd::grad(&[&sum.sum_all().unwrap()], &[None], &[&weight, &scale, &bias], false, false);
            for (grad, shape) in grads.unwrap().into_iter().zip([&[8, 16][..], &[16], &[8]]) {
                let grad = grad.unwrap();
                assert_eq!((grad.dtype(), grad.shape()), (DType::F32, shape));
            }
        }
    }

    #[test]
    fn attention_and_matmul_take_part() {
        let mut ragged = Ragged::default();
        [4, 3].iter().for_each(|&rows| ragged.push(rows, rows));
        let [query, key, value] = [1, 2, 3].map(|seed| numbers(&[7, 2, 4], seed));
        query.set_requires_grad(true).unwrap();
        let attention = Attention::new(&query, &key, &value, &ragged);
        let exact = attention.run().unwrap().context;
        let cast = with_autocast(Some(DType::BF16), || attention.run()).unwrap().context;
        assert_eq!(cast.dtype(), DType::BF16);
        for (cast, exact) in values(&cast).iter().zip(values(&exact)) {
            assert!((cast - exact).abs() < 2e-2, "{cast} {exact}");
        }
        let sum = cast.to_dtype(DType::F32).unwrap().sum_all().unwrap();
        let grad = autograd::grad(&[&sum], &[None], &[&query], false, false).unwrap().remove(0).unwrap();
        assert_eq!(grad.dtype(), DType::F32);
        let products = |x: &Tensor| with_autocast(Some(DType::F16), || x.matmul(&x.mt()?)).unwrap().dtype();
        assert_eq!(products(&numbers(&[2, 2], 1)), DType::F16);
        assert_eq!(products(&draw(&[2, 2], (-1.0, 1.0), 1)), DType::F64);
    }

    #[test]
    fn a_scope_ends() {
        assert!(set_autocast(Some(DType::F32)).is_err());
        with_autocast(Some(DType::BF16), || assert_eq!(autocast(), Some(DType::BF16)));
        assert_eq!(autocast(), None);
        assert_eq!(set_autocast(Some(DType::F16)).unwrap(), None);
        assert_eq!(set_autocast(None).unwrap(), Some(DType::F16));
    }
}
