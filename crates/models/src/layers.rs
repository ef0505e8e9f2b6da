//! The layers that stacks and heads are built from: parameters with the operation that uses them.

use trustformers_tensor::{Activation, DType, Tensor, Weight, ops};

use crate::Result;
use crate::checkpoint::{Init, Scope};
use crate::spec::{LinearSpec, NormKind, NormSpec};

/// A linear layer, or several with one input applied as one.
pub struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

impl Linear {
    /// Loads `weight` (out, in), or (in, out) if it is transposed, and `bias` (out).
    pub fn load(scope: &Scope, spec: LinearSpec, outputs: usize, inputs: usize) -> Result<Linear> {
        Linear::load_fused(scope, &[(spec, outputs)], inputs)
    }

    /// Loads several layers, each with its number of outputs, and stacks their outputs.
    pub fn load_fused(scope: &Scope, parts: &[(LinearSpec, usize)], inputs: usize) -> Result<Linear> {
        let weight = |&(spec, outputs): &(LinearSpec, usize)| {
            let scope = scope.at(spec.path);
            match spec.transposed {
                true => Ok(scope.tensor("weight", &[inputs, outputs], Init::Normal)?.mt()?),
                false => scope.tensor("weight", &[outputs, inputs], Init::Normal),
            }
        };
        let weight = Weight::new(parts.iter().map(weight).collect::<Result<_>>()?)?;
        let has_bias = parts.iter().any(|(spec, _)| spec.bias);
        let bias = has_bias.then(|| joined_bias(scope, parts)).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// A layer of a matrix (out, in) that belongs to another module too, and an own bias.
    pub fn tied(weight: Tensor, bias: Option<Tensor>) -> Result<Linear> {
        Ok(Linear { weight: Weight::new(vec![weight])?, bias })
    }

    /// The matrix, for those who prepare it.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// `activation(x @ weightᵀ + bias)`: (.., in) to (.., out).
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight, self.bias.as_ref(), activation)?)
    }
}

/// The biases of several layers one after another, as float32; zeros where one has none.
fn joined_bias(scope: &Scope, parts: &[(LinearSpec, usize)]) -> Result<Tensor> {
    let load = |&(spec, outputs): &(LinearSpec, usize)| match spec.bias {
        true => scope.at(spec.path).tensor("bias", &[outputs], Init::Zeros).map(Some),
        false => Ok(None),
    };
    let loaded = parts.iter().map(load).collect::<Result<Vec<_>>>()?;
    let total = parts.iter().map(|(_, outputs)| outputs).sum();
    scope.derived(&[total], || {
        let one = |(bias, (_, outputs)): (Option<Tensor>, &(_, usize))| match bias {
            Some(bias) => bias.to_dtype(DType::F32),
            None => Tensor::zeros(&[*outputs]),
        };
        let all = loaded.into_iter().zip(parts).map(one).collect::<Result<Vec<_>, _>>()?;
        match all.as_slice() {
            [one] => Ok(one.clone()),
            all => Ok(Tensor::cat(&all.iter().collect::<Vec<_>>(), 0)?),
        }
    })
}

/// A norm over the last dimension.
pub struct Norm {
    kind: NormKind,
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f32,
}

impl Norm {
    /// Loads `weight` and, if it has one, `bias` (width).
    pub fn load(scope: &Scope, spec: NormSpec, width: usize) -> Result<Norm> {
        let scope = scope.at(spec.path);
        if spec.kind == NormKind::LayerPlain {
            return Ok(Norm {
                kind: spec.kind,
                weight: Tensor::ones(&[width], DType::F32)?,
                bias: None,
                eps: spec.eps,
            });
        }
        let plus_one = spec.kind == NormKind::RmsPlusOne;
        let init = if plus_one { Init::Zeros } else { Init::Ones };
        let weight = scope.tensor("weight", &[width], init)?;
        let scale = || {
            let weight = weight.to_dtype(DType::F32)?;
            Ok(if plus_one { weight.add(1.0)? } else { weight })
        };
        Ok(Norm {
            kind: spec.kind,
            weight: scope.derived(&[width], scale)?,
            bias: match spec.kind {
                NormKind::Layer => {
                    let bias = scope.tensor("bias", &[width], Init::Zeros)?;
                    Some(scope.derived(&[width], || Ok(bias.to_dtype(DType::F32)?))?)
                }
                _ => None,
            },
            eps: spec.eps,
        })
    }

    /// Loads a scale for each of `heads` heads, at `norms.{head}`; they are normalised over the last dimension, `head_dim` wide.
    pub fn load_each(scope: &Scope, spec: NormSpec, heads: usize, head_dim: usize) -> Result<Norm> {
        let scales = (0..heads).take_while(|_| !scope.is_hopeless()).map(|head| {
            let scope = scope.at(spec.path).at(&format!("norms.{head}"));
            scope.tensor("weight", &[head_dim], Init::Ones)
        });
        let scales = scales.collect::<Result<Vec<_>>>()?;
        let weight = scope.derived(&[heads, head_dim], || {
            Ok(Tensor::stack(&scales.iter().collect::<Vec<_>>(), 0)?.to_dtype(DType::F32)?)
        })?;
        Ok(Norm { kind: spec.kind, weight, bias: None, eps: spec.eps })
    }

    /// Normalises `x + residual` over its last dimension.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        if self.weight.ndim() > 1 {
            let one = Tensor::ones(&x.shape()[x.ndim() - 1..], DType::F32)?;
            return Ok(ops::layer_norm(x, residual, &one, None, self.eps)?.mul(&self.weight)?);
        }
        Ok(match self.kind {
            NormKind::Layer | NormKind::LayerNoBias | NormKind::LayerPlain => {
                ops::layer_norm(x, residual, &self.weight, self.bias.as_ref(), self.eps)?
            }
            NormKind::Rms | NormKind::RmsPlusOne => {
                let sum = residual.map(|residual| x.add(residual)).transpose()?;
                ops::rms_norm(sum.as_ref().unwrap_or(x), &self.weight, self.eps)?
            }
        })
    }
}
