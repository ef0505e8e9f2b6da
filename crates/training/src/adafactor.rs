//! Adafactor (Shazeer & Stern 2018): of a matrix only the means of its rows and columns are remembered.

use serde::Deserialize;
use trustformers_tensor::Tensor;

use crate::optimizer::State;
use crate::{Error, Result};

/// The settings of transformers' `Adafactor`, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adafactor {
    /// The learning rate; `None` lets each step choose it.
    pub lr: Option<f64>,
    /// Added to the squared gradient, and the least size of a parameter where steps follow it.
    pub eps: (f64, f64),
    /// The largest root mean square of a change before the learning rate.
    pub clip_threshold: f64,
    /// How fast the running mean of squares forgets: as the power of the step's number.
    pub decay_rate: f64,
    /// How much of the running mean of changes is kept; `None` keeps none.
    pub beta1: Option<f64>,
    /// How much of the parameter, times the learning rate, is taken off.
    pub weight_decay: f64,
    /// Whether steps follow the root mean square of the parameter.
    pub scale_parameter: bool,
    /// Whether the learning rate follows the number of the step.
    pub relative_step: bool,
    /// Whether that begins small.
    pub warmup_init: bool,
}

impl Default for Adafactor {
    fn default() -> Adafactor {
        Adafactor {
            lr: None,
            eps: (1e-30, 1e-3),
            clip_threshold: 1.0,
            decay_rate: -0.8,
            beta1: None,
            weight_decay: 0.0,
            scale_parameter: true,
            relative_step: true,
            warmup_init: false,
        }
    }
}

impl Adafactor {
    pub(crate) fn check(&self) -> Result<()> {
        if self.lr.is_some() && self.relative_step {
            return Err(Error::Setting("Cannot combine manual `lr` and `relative_step=True` options".into()));
        }
        if self.warmup_init && !self.relative_step {
            return Err(Error::Setting("`warmup_init=True` requires `relative_step=True`".into()));
        }
        if self.lr.is_none() && !self.relative_step {
            return Err(Error::Setting("`relative_step=False` requires `lr`".into()));
        }
        Ok(())
    }

    pub(crate) fn step(&self, parameter: &Tensor, grad: &Tensor, state: &mut State) -> Result<()> {
        let step = state.step as f64;
        let lr = self.rate(step, rms(parameter)?);
        let kept = 1.0 - step.powf(self.decay_rate);
        let square = grad.square()?.add(self.eps.0)?;
        let mut change = match parameter.shape() {
            [.., _, _] => {
                let rows = running(state, "exp_avg_sq_row", &square.mean(&[-1], false)?, kept)?;
                let columns = running(state, "exp_avg_sq_col", &square.mean(&[-2], false)?, kept)?;
                let rows = rows.div(&rows.mean(&[-1], true)?)?.rsqrt()?.unsqueeze(-1)?;
                rows.mul(&columns.unsqueeze(-2)?.rsqrt()?)?.mul(grad)?
            }
            _ => running(state, "exp_avg_sq", &square, kept)?.rsqrt()?.mul(grad)?,
        };
        let scale = lr / (rms(&change)? / self.clip_threshold).max(1.0);
        change = change.mul(scale)?;
        if let Some(beta1) = self.beta1 {
            change = running(state, "exp_avg", &change, beta1)?;
        }
        if self.weight_decay != 0.0 {
            parameter.mul_(1.0 - self.weight_decay * lr)?;
        }
        parameter.sub_(&change)?;
        Ok(())
    }

    /// The learning rate of a step, for a parameter of a root mean square.
    fn rate(&self, step: f64, rms: f64) -> f64 {
        let rate = match self.lr {
            Some(lr) if !self.relative_step => lr,
            _ => (if self.warmup_init { 1e-6 * step } else { 1e-2 }).min(step.sqrt().recip()),
        };
        rate * if self.scale_parameter { rms.max(self.eps.1) } else { 1.0 }
    }
}

/// A running mean, brought up to date: `kept` of what it was and the rest of `value`. It begins at zero.
fn running(state: &mut State, name: &str, value: &Tensor, kept: f64) -> Result<Tensor> {
    let mean = state.tensor(name, || value.zeros_like())?;
    mean.mul_(kept)?;
    mean.add_(&value.mul(1.0 - kept)?)?;
    Ok(mean)
}

fn rms(x: &Tensor) -> Result<f64> {
    Ok(x.norm(2.0, &[], false)?.item()?.to_f64() / (x.numel().max(1) as f64).sqrt())
}
