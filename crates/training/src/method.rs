//! The kinds of optimizers with their settings; the defaults are those of torch and of transformers.

use serde::Deserialize;
use trustformers_tensor::Tensor;
use trustformers_tensor::ops::Update;

use crate::optimizer::{Memory, State};
use crate::{Adafactor, Error, Result, adam8bit};

/// What an optimizer does with a parameter: the kind and the settings of a group.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type")]
pub enum Method {
    /// Adam with weight decay in the gradient: torch's `Adam`.
    Adam(Adam),
    /// Adam with weight decay beside it: torch's `AdamW`.
    AdamW(Adam),
    /// AdamW whose running means take 8 bits an element (Dettmers et al. 2022).
    AdamW8bit(Adam),
    /// Stochastic gradient descent: torch's `SGD`.
    #[serde(rename = "SGD")]
    Sgd(Sgd),
    /// Lion (Chen et al. 2023).
    Lion(Lion),
    /// Adagrad: torch's `Adagrad`.
    Adagrad(Adagrad),
    /// RMSprop: torch's `RMSprop`.
    #[serde(rename = "RMSprop")]
    RmsProp(RmsProp),
    /// Adafactor (Shazeer & Stern 2018): transformers' `Adafactor`.
    Adafactor(Adafactor),
}

/// The settings of Adam in all its forms.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// How much of the running means of gradients and squared gradients is kept from step to step.
    pub betas: (f64, f64),
    /// Added to the root of the mean square.
    pub eps: f64,
    /// How much of the parameter is taken off, times the learning rate where the decay is decoupled.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Adam {
        Adam { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 }
    }
}

/// The settings of stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// How much of the running sum of gradients is kept from step to step; 0 keeps none.
    pub momentum: f64,
    /// How much of a gradient the running sum is not given.
    pub dampening: f64,
    /// How much of the parameter is added to the gradient.
    pub weight_decay: f64,
    /// Whether the gradient and the running sum count together (Nesterov 1983).
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Sgd {
        Sgd { lr: 1e-3, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false }
    }
}

/// The settings of Lion.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lion {
    /// The learning rate.
    pub lr: f64,
    /// How much of the running mean counts in the sign, and how much of it is kept from step to step.
    pub betas: (f64, f64),
    /// How much of the parameter, times the learning rate, is taken off.
    pub weight_decay: f64,
}

impl Default for Lion {
    fn default() -> Lion {
        Lion { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 0.0 }
    }
}

/// The settings of Adagrad.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adagrad {
    /// The learning rate.
    pub lr: f64,
    /// How much of the learning rate is lost from step to step.
    pub lr_decay: f64,
    /// How much of the parameter is added to the gradient.
    pub weight_decay: f64,
    /// What the sum of squares begins with.
    pub initial_accumulator_value: f64,
    /// Added to the root of the sum.
    pub eps: f64,
}

impl Default for Adagrad {
    fn default() -> Adagrad {
        Adagrad { lr: 1e-2, lr_decay: 0.0, weight_decay: 0.0, initial_accumulator_value: 0.0, eps: 1e-10 }
    }
}

/// The settings of RMSprop.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// The learning rate.
    pub lr: f64,
    /// How much of the running mean of squares is kept from step to step.
    pub alpha: f64,
    /// Added to the root of the mean.
    pub eps: f64,
    /// How much of the parameter is added to the gradient.
    pub weight_decay: f64,
}

impl Default for RmsProp {
    fn default() -> RmsProp {
        RmsProp { lr: 1e-2, alpha: 0.99, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl Method {
    /// The method that JSON describes: `type` is the name of torch's class, the rest its settings.
    ///
    /// # Errors
    /// `Setting` when there is no such method or no such setting, or one cannot be.
    pub fn from_json(json: &str) -> Result<Method> {
        let method: Method = serde_json::from_str(json).map_err(|error| Error::Setting(error.to_string()))?;
        method.check()?;
        Ok(method)
    }

    /// The learning rate; Adafactor may have none of its own and choose one at each step.
    pub fn lr(&self) -> Option<f64> {
        Some(match self {
            Method::Adam(adam) | Method::AdamW(adam) | Method::AdamW8bit(adam) => adam.lr,
            Method::Sgd(sgd) => sgd.lr,
            Method::Lion(lion) => lion.lr,
            Method::Adagrad(adagrad) => adagrad.lr,
            Method::RmsProp(rmsprop) => rmsprop.lr,
            Method::Adafactor(adafactor) => return adafactor.lr,
        })
    }

    /// Sets the learning rate.
    pub fn set_lr(&mut self, rate: f64) {
        match self {
            Method::Adam(adam) | Method::AdamW(adam) | Method::AdamW8bit(adam) => adam.lr = rate,
            Method::Sgd(sgd) => sgd.lr = rate,
            Method::Lion(lion) => lion.lr = rate,
            Method::Adagrad(adagrad) => adagrad.lr = rate,
            Method::RmsProp(rmsprop) => rmsprop.lr = rate,
            Method::Adafactor(adafactor) => adafactor.lr = Some(rate),
        }
    }

    /// Whether the settings can be.
    ///
    /// # Errors
    /// `Setting` for negative numbers, fractions outside of [0, 1), and settings that contradict each other.
    pub fn check(&self) -> Result<()> {
        let positive = |name: &str, value: f64| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::Setting(format!("Invalid {name}: {value} (it must be at least 0)"))),
        };
        let fraction = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::Setting(format!("Invalid {name}: {value} (it must be in [0, 1))"))),
        };
        if let Some(lr) = self.lr() {
            positive("learning rate", lr)?;
        }
        match self {
            Method::Adam(adam) | Method::AdamW(adam) | Method::AdamW8bit(adam) => {
                fraction("beta parameter at index 0", adam.betas.0)?;
                fraction("beta parameter at index 1", adam.betas.1)?;
                positive("epsilon value", adam.eps)?;
                positive("weight_decay value", adam.weight_decay)
            }
            Method::Sgd(sgd) => {
                positive("momentum value", sgd.momentum)?;
                positive("weight_decay value", sgd.weight_decay)?;
                if sgd.nesterov && (sgd.momentum <= 0.0 || sgd.dampening != 0.0) {
                    let message = "Nesterov momentum requires a momentum and zero dampening";
                    return Err(Error::Setting(message.into()));
                }
                Ok(())
            }
            Method::Lion(lion) => {
                fraction("beta parameter at index 0", lion.betas.0)?;
                fraction("beta parameter at index 1", lion.betas.1)?;
                positive("weight_decay value", lion.weight_decay)
            }
            Method::Adagrad(adagrad) => {
                positive("lr_decay value", adagrad.lr_decay)?;
                positive("weight_decay value", adagrad.weight_decay)?;
                positive("initial_accumulator_value value", adagrad.initial_accumulator_value)?;
                positive("epsilon value", adagrad.eps)
            }
            Method::RmsProp(rmsprop) => {
                positive("alpha value", rmsprop.alpha)?;
                positive("epsilon value", rmsprop.eps)?;
                positive("weight_decay value", rmsprop.weight_decay)
            }
            Method::Adafactor(adafactor) => adafactor.check(),
        }
    }

    /// How a parameter is changed in step `state.step` (from 1 on), and with what memory, which is made in the first one. Adafactor changes
    /// it at once.
    pub(crate) fn plan(
        &self,
        parameter: &Tensor,
        grad: &Tensor,
        state: &mut State,
    ) -> Result<Option<(Update, Vec<Memory>)>> {
        let step = state.step;
        let adam = |Adam { lr, betas, eps, weight_decay }, decoupled| Update::Adam {
            lr,
            betas,
            eps,
            weight_decay,
            decoupled,
            step,
        };
        let (update, names): (Update, &[&str]) = match *self {
            Method::Adam(settings) => (adam(settings, false), &["exp_avg", "exp_avg_sq"]),
            Method::AdamW(settings) => (adam(settings, true), &["exp_avg", "exp_avg_sq"]),
            Method::AdamW8bit(settings) => {
                return Ok(Some((adam(settings, true), adam8bit::memory(parameter, state)?)));
            }
            Method::Sgd(Sgd { lr, momentum, dampening, weight_decay, nesterov }) => {
                let first = !state.tensors.contains_key("momentum_buffer");
                let names: &[_] = if momentum == 0.0 { &[] } else { &["momentum_buffer"] };
                (Update::Sgd { lr, momentum, dampening, nesterov, weight_decay, first }, names)
            }
            Method::Lion(Lion { lr, betas, weight_decay }) => {
                (Update::Lion { lr, betas, weight_decay }, &["exp_avg"])
            }
            Method::Adagrad(Adagrad { lr, lr_decay, weight_decay, initial_accumulator_value, eps }) => {
                if !state.tensors.contains_key("sum") {
                    let sum = parameter.zeros_like()?;
                    sum.fill_(initial_accumulator_value)?;
                    state.tensors.insert("sum".into(), sum);
                }
                let lr = lr / (1.0 + (step as f64 - 1.0) * lr_decay);
                (Update::Adagrad { lr, eps, weight_decay }, &["sum"])
            }
            Method::RmsProp(RmsProp { lr, alpha, eps, weight_decay }) => {
                (Update::RmsProp { lr, alpha, eps, weight_decay }, &["square_avg"])
            }
            Method::Adafactor(ref adafactor) => {
                adafactor.step(parameter, grad, state)?;
                return Ok(None);
            }
        };
        let memory = names.iter().map(|name| state.whole(name, parameter)).collect::<Result<_>>()?;
        Ok(Some((update, memory)))
    }
}
