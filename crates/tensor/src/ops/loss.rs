//! The loss of classification.

use super::same_place;
use crate::autograd::{differentiate, is_grad_enabled, record};
use crate::{DType, Error, Result, Tensor};

/// What becomes of the losses of single positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// They are returned.
    None,
    /// Their mean over the positions that are not ignored.
    Mean,
    /// Their sum.
    Sum,
}

impl Tensor {
    /// The cross entropy between these logits, (positions, classes), and the target classes, (positions): torch's `F.cross_entropy`. Positions
    /// whose target is `ignored` count for nothing. With `smoothing` ε a target has the probability 1 - ε + ε / classes and every other
    /// class ε / classes.
    ///
    /// # Errors
    /// `Shapes` when there is not one target for each position; `Index` for a target that is no class; `DType` for logits that are not
    /// floats or targets that are not integers.
    pub fn cross_entropy(
        &self,
        targets: &Tensor,
        ignored: i64,
        reduction: Reduction,
        smoothing: f64,
    ) -> Result<Tensor> {
        self.expect_float("cross_entropy")?;
        if self.ndim() != 2 || targets.shape() != &self.shape()[..1] {
            let rule = "logits must be (positions, classes), targets (positions)";
            let (left, right) = (self.shape().into(), targets.shape().into());
            return Err(Error::Shapes { op: "cross_entropy", rule, left, right });
        }
        if !targets.dtype().is_int() {
            let rule = "the targets must be integers";
            return Err(Error::DType { op: "cross_entropy", rule, dtype: targets.dtype() });
        }
        same_place("cross_entropy", [self, targets])?;
        let counts = targets.ne(ignored)?;
        let class = Tensor::select_where(
            &counts,
            targets,
            &Tensor::scalar_on(0i64, targets.dtype(), targets.device())?,
        )?;
        let out_of_range = class.lt(0i64)?.logical_or(&class.ge(self.shape()[1] as i64)?)?;
        if out_of_range.any()? {
            let index = class.masked_select(&out_of_range)?.select(0, 0)?.item()?.to_i64();
            return Err(Error::Index {
                op: "cross_entropy",
                what: "the list of classes",
                index,
                size: self.shape()[1],
            });
        }
        // What counts for nothing has no class.
        let class = Tensor::select_where(&counts, &class.to_dtype(DType::I64)?, -1i64)?;
        self.in_single(|x| {
            let loss = x.entropies(&class, smoothing)?;
            match reduction {
                Reduction::None => Ok(loss),
                Reduction::Sum => loss.sum_all(),
                Reduction::Mean => loss.sum_all()?.div(&counts.sum_all()?.to_dtype(loss.dtype())?),
            }
        })
    }

    /// The loss of each position, 0 where its class is -1; in one pass for float32.
    fn entropies(&self, class: &Tensor, smoothing: f64) -> Result<Tensor> {
        if self.dtype() != DType::F32 {
            return composed(self, class, smoothing);
        }
        let x = self.detach().contiguous()?;
        let [loss, log_sum] = x.backend().cross_entropy(&x, class, smoothing as f32)?;
        Ok(record("cross_entropy", loss, &[self], &[self, class, &log_sum], move |b| {
            let [x, class, log_sum] = b.saved else {
                return Err(Error::argument("cross_entropy", "the logits were not saved"));
            };
            if is_grad_enabled() {
                return differentiate(&b.of_sources(1), |inputs| composed(&inputs[0], class, smoothing));
            }
            let (g, x) = (b.grad().contiguous()?, x.detach().contiguous()?);
            let grad = x.backend().cross_entropy_gradient(&g, &x, class, log_sum, smoothing as f32)?;
            Ok(vec![Some(grad)])
        }))
    }
}

/// The same as one operation after another.
fn composed(x: &Tensor, class: &Tensor, smoothing: f64) -> Result<Tensor> {
    let log = x.log_softmax(-1)?;
    let mut loss = log.gather(1, &class.maximum(0i64)?.unsqueeze(1)?)?.squeeze(&[1])?.neg()?;
    if smoothing != 0.0 {
        let even = log.mean(&[1], false)?.neg()?;
        loss = loss.mul(1.0 - smoothing)?.add(&even.mul(smoothing)?)?;
    }
    Tensor::select_where(&class.ge(0i64)?, &loss, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::grad;
    use crate::testing::{check_gradient, draw, same_gradients};

    #[test]
    fn equals_its_definition() {
        let x = Tensor::from_slice(&[1f64, 2.0, 3.0, 0.5, 0.5, 0.5], &[2, 3]).unwrap();
        let targets = Tensor::from_slice(&[2i64, 0], &[2]).unwrap();
        let loss = |targets: &Tensor, reduction, smoothing| {
            x.cross_entropy(targets, -100, reduction, smoothing).unwrap()
        };
        let first = (1f64.exp() + 2f64.exp() + 3f64.exp()).ln() - 3.0;
        let each = loss(&targets, Reduction::None, 0.0);
        assert!((each.as_slice::<f64>().unwrap()[0] - first).abs() < 1e-12);
        assert!((each.as_slice::<f64>().unwrap()[1] - 3f64.ln()).abs() < 1e-12);
        let half = Tensor::from_slice(&[2i64, -100], &[2]).unwrap();
        assert!((loss(&half, Reduction::Mean, 0.0).item().unwrap().to_f64() - first).abs() < 1e-12);
        let smooth = 0.9 * first + 0.1 * (first + 1.0);
        assert!((loss(&half, Reduction::Sum, 0.1).item().unwrap().to_f64() - smooth).abs() < 1e-12);
        for wrong in [3i64, -1] {
            let targets = Tensor::from_slice(&[0, wrong], &[2]).unwrap();
            assert!(x.cross_entropy(&targets, -100, Reduction::Mean, 0.0).is_err());
        }
    }

    #[test]
    fn gradients() {
        let targets = Tensor::from_slice(&[2i64, 0, -100, 4], &[4]).unwrap();
        for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
            check_gradient("cross_entropy", &[&[4, 5]], (-2.0, 2.0), 1, |x| {
                x[0].cross_entropy(&targets.to_device(x[0].device())?, -100, reduction, 0.2)
            });
        }
    }

    #[test]
    fn one_pass_equals_its_composed_form() {
        for (rows, classes) in [(4, 5), (3, 3000), (70, 1025), (0, 4), (2, 1)] {
            for smoothing in [0.0, 0.3] {
                let x = draw(&[rows, classes], (-30.0, 30.0), 3).to_dtype(DType::F32).unwrap();
                let class =
                    Tensor::count(rows).unwrap().mul(37i64).unwrap().remainder(classes as i64).unwrap();
                class.narrow(0, 0, rows.min(1)).unwrap().fill_(-1i64).unwrap();
                same_gradients(
                    "cross_entropy",
                    &[x],
                    3e-6,
                    |x| x[0].entropies(&class, smoothing),
                    |x| composed(&x[0].to_dtype(DType::F64)?, &class, smoothing)?.to_dtype(DType::F32),
                );
            }
        }
    }

    #[test]
    fn the_second_derivative_is_not_lost() {
        let x = Tensor::from_slice(&[0.0f32, 0.0], &[1, 2]).unwrap();
        x.set_requires_grad(true).unwrap();
        let class = Tensor::from_slice(&[0i64], &[1]).unwrap();
        let loss = x.cross_entropy(&class, -100, Reduction::Mean, 0.0).unwrap();
        let first = grad(&[&loss], &[None], &[&x], true, true).unwrap().remove(0).unwrap();
        let second = grad(&[&first.select(1, 0).unwrap().sum_all().unwrap()], &[None], &[&x], false, false);
        // p (1 - p) and -p (1 - p) with p = 1/2.
        assert_eq!(second.unwrap().remove(0).unwrap().as_slice::<f32>().unwrap(), [0.25, -0.25]);
    }
}
