//! Activation functions.

use std::str::FromStr;

use super::UnaryOp;
use crate::{Error, Result, Tensor};

/// An elementwise function between linear layers, as transformers' `ACT2FN` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x
    Identity,
    /// x Φ(x), Φ the normal distribution function (Hendrycks & Gimpel 2016).
    Gelu,
    /// GELU by its tanh approximation.
    GeluTanh,
    /// x σ(1.702 x)
    QuickGelu,
    /// max(x, 0)
    Relu,
    /// max(x, 0)²
    ReluSquared,
    /// x σ(x)
    Silu,
    /// σ(x) = 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// tanh(x)
    Tanh,
}

impl Activation {
    /// Each name that a configuration may use, and what it means. Several names are one function.
    pub const NAMES: &'static [(&'static str, Activation)] = &[
        ("gelu", Activation::Gelu),
        ("gelu_python", Activation::Gelu),
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("gelu_python_tanh", Activation::GeluTanh),
        ("gelu_fast", Activation::GeluTanh),
        ("gelu_accurate", Activation::GeluTanh),
        ("quick_gelu", Activation::QuickGelu),
        ("relu", Activation::Relu),
        ("relu2", Activation::ReluSquared),
        ("silu", Activation::Silu),
        ("swish", Activation::Silu),
        ("sigmoid", Activation::Sigmoid),
        ("tanh", Activation::Tanh),
        ("linear", Activation::Identity),
    ];
}

impl Activation {
    /// The function, if it is not the identity.
    pub const fn function(self) -> Option<UnaryOp> {
        match self {
            Activation::Identity => None,
            Activation::Gelu => Some(UnaryOp::Gelu),
            Activation::GeluTanh => Some(UnaryOp::GeluTanh),
            Activation::QuickGelu => Some(UnaryOp::QuickGelu),
            Activation::Relu => Some(UnaryOp::Relu),
            Activation::ReluSquared => Some(UnaryOp::ReluSquared),
            Activation::Silu => Some(UnaryOp::Silu),
            Activation::Sigmoid => Some(UnaryOp::Sigmoid),
            Activation::Tanh => Some(UnaryOp::Tanh),
        }
    }

    /// The function of every element.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        self.function().map_or_else(|| Ok(x.clone()), |op| x.unary(op))
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Activation> {
        let found = Activation::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|&(_, activation)| activation).ok_or_else(|| {
            let known: Vec<_> = Activation::NAMES.iter().map(|(known, _)| *known).collect();
            Error::argument("activation", format!("'{name}' is unknown: use one of {}", known.join(", ")))
        })
    }
}
