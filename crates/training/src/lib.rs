//! What changes parameters: optimizers, learning rate schedules, clipping of gradients, and scaling of losses.
//!
//! It knows tensors and no models: parameters are leaves with gradients, wherever they come from.

mod adafactor;
mod adam8bit;
mod error;
mod gradients;
mod method;
mod optimizer;
mod scaler;
mod schedule;

pub use adafactor::Adafactor;
pub use error::{Error, Result};
pub use gradients::{clip_grad_norm, clip_grad_value, grad_norm};
pub use method::{Adagrad, Adam, Lion, Method, RmsProp, Sgd};
pub use optimizer::{Group, Optimizer, State};
pub use scaler::GradScaler;
pub use schedule::{Decay, Schedule, WarmUp};
