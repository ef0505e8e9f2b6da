//! Gradients of many parameters together: how long they are, and making them shorter.

use trustformers_tensor::{DType, Tensor, autograd};

use crate::{Error, Result};

/// The gradients of those parameters that have one.
fn gradients(parameters: &[Tensor]) -> impl Iterator<Item = Tensor> {
    parameters.iter().filter_map(Tensor::grad)
}

/// The length of all gradients as one vector; 0 where there are none. `norm_type` is the power, which may be infinite.
pub fn grad_norm(parameters: &[Tensor], norm_type: f64) -> Result<f64> {
    autograd::no_grad(|| {
        let norms = gradients(parameters)
            .map(|grad| Ok(grad.norm(norm_type, &[], false)?.to_dtype(DType::F64)?.item()?.to_f64()))
            .collect::<Result<Vec<f64>>>()?;
        let any_nan = norms.iter().any(|norm| norm.is_nan());
        Ok(if any_nan {
            f64::NAN
        } else if norm_type.is_infinite() {
            norms.into_iter().fold(0.0, f64::max)
        } else {
            norms.iter().map(|norm| norm.powf(norm_type)).sum::<f64>().powf(norm_type.recip())
        })
    })
}

/// Makes all gradients together at most `max_norm` long, in place, and says how long they were: torch's `clip_grad_norm_`.
///
/// # Errors
/// `Setting` for a norm that is no positive number; with `error_if_nonfinite` for gradients that are not finite.
pub fn clip_grad_norm(
    parameters: &[Tensor],
    max_norm: f64,
    norm_type: f64,
    error_if_nonfinite: bool,
) -> Result<f64> {
    if max_norm.is_nan() || max_norm < 0.0 || norm_type.is_nan() || norm_type <= 0.0 {
        let message = format!("max_norm and norm_type must be positive, got {max_norm} and {norm_type}");
        return Err(Error::Setting(message));
    }
    let norm = grad_norm(parameters, norm_type)?;
    if error_if_nonfinite && !norm.is_finite() {
        return Err(Error::Setting(format!(
            "The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped."
        )));
    }
    let scale = max_norm / (norm + 1e-6);
    if scale < 1.0 || norm.is_nan() {
        scale_all(parameters, scale)?;
    }
    Ok(norm)
}

/// Multiplies all gradients, in place.
pub(crate) fn scale_all(parameters: &[Tensor], scale: f64) -> Result<()> {
    autograd::no_grad(|| gradients(parameters).try_for_each(|grad| Ok(grad.mul_(scale)?)))
}

/// Brings every element of the gradients into ±`clip_value`, in place: torch's `clip_grad_value_`.
///
/// # Errors
/// `Setting` for a negative value.
pub fn clip_grad_value(parameters: &[Tensor], clip_value: f64) -> Result<()> {
    if clip_value.is_nan() || clip_value < 0.0 {
        return Err(Error::Setting(format!("clip_value must be at least 0, got {clip_value}")));
    }
    autograd::no_grad(|| {
        for grad in gradients(parameters) {
            grad.become_(&grad.clamp(Some((-clip_value).into()), Some(clip_value.into()))?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gradients() -> Vec<Tensor> {
        [[3.0f32, 0.0], [0.0, -4.0]]
            .map(|values| {
                let leaf = Tensor::zeros(&[2]).unwrap();
                leaf.set_requires_grad(true).unwrap();
                leaf.set_grad(Some(Tensor::from_slice(&values, &[2]).unwrap())).unwrap();
                leaf
            })
            .into()
    }

    fn values(parameters: &[Tensor]) -> Vec<f32> {
        parameters.iter().flat_map(|p| p.grad().unwrap().as_slice::<f32>().unwrap().to_vec()).collect()
    }

    #[test]
    fn the_norm_is_that_of_all_together() {
        let parameters = with_gradients();
        assert!((grad_norm(&parameters, 2.0).unwrap() - 5.0).abs() < 1e-6);
        assert!((grad_norm(&parameters, 1.0).unwrap() - 7.0).abs() < 1e-6);
        assert!((grad_norm(&parameters, f64::INFINITY).unwrap() - 4.0).abs() < 1e-6);
        assert_eq!(grad_norm(&[], 2.0).unwrap(), 0.0);
    }

    #[test]
    fn clipping() {
        let parameters = with_gradients();
        assert!((clip_grad_norm(&parameters, 10.0, 2.0, true).unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(values(&parameters), [3.0, 0.0, 0.0, -4.0]);
        clip_grad_norm(&parameters, 1.0, 2.0, true).unwrap();
        assert!((grad_norm(&parameters, 2.0).unwrap() - 1.0).abs() < 1e-5);
        let parameters = with_gradients();
        clip_grad_value(&parameters, 3.5).unwrap();
        assert_eq!(values(&parameters), [3.0, 0.0, 0.0, -3.5]);
    }

    #[test]
    fn what_is_not_finite_is_said() {
        let parameters = with_gradients();
        parameters[0].grad().unwrap().fill_(f64::NAN).unwrap();
        assert!(clip_grad_norm(&parameters, 1.0, 2.0, true).is_err());
        assert!(clip_grad_norm(&parameters, 1.0, 2.0, false).unwrap().is_nan());
        assert!(clip_grad_norm(&parameters, -1.0, 2.0, false).is_err());
        assert!(clip_grad_value(&parameters, -1.0).is_err());
    }
}
