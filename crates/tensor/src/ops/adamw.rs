//! One step of AdamW (Loshchilov & Hutter 2019).

use crate::{Error, Result, Tensor};

/// How a step is made; the values of torch's `optim.AdamW` are the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate.
    pub lr: f64,
    /// How much of the running means of gradients and squared gradients is kept from step to step.
    pub betas: (f64, f64),
    /// Added to the root of the mean square, so that nothing is divided by zero.
    pub eps: f64,
    /// How much of each parameter, times the learning rate, is taken off.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> AdamW {
        AdamW { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 }
    }
}

/// Step number `step` (from 1 on) for `parameter`, in place: from its gradient `grad` and the running means `mean` and `square`, which are
/// brought up to date. Nothing of it is recorded.
///
/// # Errors
/// `Shapes` when the four differ in shape; `DType` for other than floats; `Argument` when one is not contiguous or read-only, or for step 0.
pub fn adamw_step(
    options: &AdamW,
    step: u64,
    parameter: &Tensor,
    grad: &Tensor,
    mean: &Tensor,
    square: &Tensor,
) -> Result<()> {
    if step == 0 {
        return Err(Error::argument("adamw", "steps are counted from 1"));
    }
    for tensor in [parameter, grad, mean, square] {
        tensor.expect_float("adamw")?;
        if tensor.shape() != parameter.shape() {
            let rule = "parameter, gradient and running means must have one shape";
            let (left, right) = (parameter.shape().into(), tensor.shape().into());
            return Err(Error::Shapes { op: "adamw", rule, left, right });
        }
    }
    for tensor in [parameter, mean, square] {
        if !tensor.is_contiguous() || !tensor.storage().is_writable() {
            let message = "parameter and running means must be contiguous and writable";
            return Err(Error::argument("adamw", message));
        }
    }
    let grad = grad.detach().contiguous()?;
    for tensor in [parameter, mean, square] {
        tensor.storage().bump_version();
    }
    parameter.backend().adamw_step(options, step, parameter, &grad, mean, square)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use crate::testing::draw;

    #[test]
    fn equals_the_paper() {
        let options = AdamW { lr: 0.01, betas: (0.8, 0.95), eps: 1e-6, weight_decay: 0.1 };
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-6), (DType::BF16, 5e-2)] {
            let parameter = draw(&[70, 41], (-1.0, 1.0), 1).to_dtype(dtype).unwrap();
            let (mean, square) = (parameter.zeros_like().unwrap(), parameter.zeros_like().unwrap());
            let (mut p, mut m, mut v) = (
                parameter.to_dtype(DType::F64).unwrap().copy().unwrap(),
                mean.to_dtype(DType::F64).unwrap().copy().unwrap(),
                square.to_dtype(DType::F64).unwrap().copy().unwrap(),
            );
            for step in 1..4 {
                let grad = draw(&[70, 41], (-1.0, 1.0), 10 + step).to_dtype(dtype).unwrap();
                adamw_step(&options, step, &parameter, &grad, &mean, &square).unwrap();
                let g = grad.to_dtype(DType::F64).unwrap();
                m = m.mul(0.8).unwrap().add(&g.mul(0.2).unwrap()).unwrap();
                v = v.mul(0.95).unwrap().add(&g.square().unwrap().mul(0.05).unwrap()).unwrap();
                let m_hat = m.div(1.0 - 0.8f64.powi(step as i32)).unwrap();
                let v_hat = v.div(1.0 - 0.95f64.powi(step as i32)).unwrap();
                let change = m_hat.div(&v_hat.sqrt().unwrap().add(1e-6).unwrap()).unwrap();
                p = p.mul(1.0 - 0.01 * 0.1).unwrap().sub(&change.mul(0.01).unwrap()).unwrap();
            }
            let off = parameter
                .to_dtype(DType::F64)
                .unwrap()
                .sub(&p)
                .unwrap()
                .abs()
                .unwrap()
                .amax(&[], false)
                .unwrap();
            assert!(off.item().unwrap().to_f64() <= tolerance, "{dtype}: {off:?} {:?}", off.item());
        }
    }

    #[test]
    fn misfits_are_refused() {
        let (x, y) = (Tensor::zeros(&[2]).unwrap(), Tensor::zeros(&[3]).unwrap());
        assert!(adamw_step(&AdamW::default(), 1, &x, &y, &x, &x).is_err());
        assert!(adamw_step(&AdamW::default(), 0, &x, &x, &x, &x).is_err());
    }
}
