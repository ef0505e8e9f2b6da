//! Dropout (Srivastava et al. 2014): elements that are left out at random, so that no other learns to rely on them.

use super::Generator;
use crate::autograd::record;
use crate::{Error, Result, Tensor};

/// So many elements are dropped together: they take [`BLOCKS`] of the stream of random numbers, four each.
pub(crate) const GROUP: usize = 64;
pub(crate) const BLOCKS: usize = GROUP / 4;

/// Which elements are dropped: a function of these numbers and of where an element stands, so that a mask is never kept. Drawing it again
/// costs less than reading it would.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The probability of an element to be dropped, from 0 to 1.
    pub p: f64,
    /// What the random numbers follow from.
    pub seed: u64,
}

/// An element is dropped where 32 random bits are below this; none if all are.
pub(crate) fn limit(p: f64) -> Option<u32> {
    let limit = (p * 32f64.exp2()).round();
    (limit < 32f64.exp2()).then_some(limit as u32)
}

impl Tensor {
    /// Each element kept with probability `1 - p` and divided by that, so that the mean stays; zero otherwise. For any floats.
    ///
    /// # Errors
    /// `Argument` when `p` is no probability; `DType` for integers.
    pub fn dropout(&self, p: f64, generator: &Generator) -> Result<Tensor> {
        self.expect_float("dropout")?;
        if !(0.0..=1.0).contains(&p) {
            let message = format!("the probability must be between 0 and 1, got {p}");
            return Err(Error::argument("dropout", message));
        }
        if p == 0.0 {
            return Ok(self.clone());
        }
        let blocks = (self.numel().div_ceil(GROUP) * BLOCKS) as u64;
        dropped(self, p, (generator.state().0, generator.take(blocks)))
    }
}

/// The gradient is dropped as the elements were.
fn dropped(x: &Tensor, p: f64, stream: (u64, u64)) -> Result<Tensor> {
    let out = x.backend().dropout(&x.detach().contiguous()?, p, stream)?;
    Ok(record("dropout", out, &[x], &[], move |b| Ok(vec![Some(dropped(b.grad(), p, stream)?)])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DType;
    use crate::autograd::grad;
    use crate::testing::check_gradient;

    fn moments(x: &Tensor) -> (f64, f64) {
        let number = |x: Result<Tensor>| x.unwrap().item().unwrap().to_f64();
        (number(x.mean(&[], false)), number(x.var(&[], 0.0, false)))
    }

    #[test]
    fn the_mean_stays_and_the_variance_is_that_of_coin_throws() {
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            for p in [0.1, 0.5, 0.9] {
                let x = Tensor::ones(&[200_003], dtype).unwrap().dropout(p, &Generator::new(3)).unwrap();
                assert_eq!(x.dtype(), dtype);
                let (mean, var) = moments(&x.to_dtype(DType::F64).unwrap());
                // A kept element is 1 / (1 - p).
                let wanted = p / (1.0 - p);
                assert!((mean - 1.0).abs() < 5.0 * (wanted / 2e5).sqrt() + 4e-3, "{dtype} {p}: {mean}");
                assert!((var / wanted - 1.0).abs() < 0.03, "{dtype} {p}: {var}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        let x = Tensor::ones(&[1000], DType::F32).unwrap();
        let generator = Generator::new(3);
        assert!(x.dropout(0.0, &generator).unwrap().is(&x));
        assert_eq!(generator.state(), (3, 0));
        assert_eq!(moments(&x.dropout(1.0, &generator).unwrap()), (0.0, 0.0));
        assert!(x.dropout(1.5, &generator).is_err() && x.dropout(f64::NAN, &generator).is_err());
        assert!(x.to_dtype(DType::I64).unwrap().dropout(0.5, &generator).is_err());
        assert_eq!(Tensor::zeros(&[0, 3]).unwrap().dropout(0.5, &generator).unwrap().shape(), [0, 3]);
    }

    proptest! {
        #[test]
        fn the_gradient_is_dropped_as_the_elements_are(count in 0usize..300, p in 0.01f64..0.99, seed: u64) {
            let x = Tensor::ones(&[count], DType::F32).unwrap();
            x.set_requires_grad(true).unwrap();
            let y = x.dropout(p, &Generator::new(seed)).unwrap();
            let ones = Tensor::ones(&[count], DType::F32).unwrap();
            let gradient = grad(&[&y], &[Some(ones)], &[&x], false, false).unwrap().remove(0).unwrap();
            let y = y.detach();
            prop_assert_eq!(gradient.as_slice::<f32>().unwrap(), y.as_slice::<f32>().unwrap());
        }
    }

    #[test]
    fn gradients() {
        for p in [0.3, 1.0] {
            check_gradient("dropout", &[&[13, 7]], (-1.0, 1.0), 1, |x| x[0].dropout(p, &Generator::new(5)));
        }
    }
}
