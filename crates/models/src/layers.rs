//! The layers that stacks and heads are built from: parameters with the operation that uses them.

use std::sync::{Arc, PoisonError, RwLock};

use trustformers_tensor::ops::{LinearStep, Then};
use trustformers_tensor::profile::Module;
use trustformers_tensor::{Activation, DType, Device, Matrix, Tensor, Weight, Workspace, autocast, ops};

use crate::checkpoint::{Init, Scope};
use crate::derived::Derived;
use crate::dropout::Dropout;
use crate::low_rank::Added;
use crate::paths::together;
use crate::site::Site;
use crate::spec::{LinearSpec, NormKind, NormSpec};
use crate::{Error, Parameter, Result};

/// A linear layer, or several with one input applied as one.
pub struct Linear {
    module: Module,
    weight: Derived<Arc<Weight>>,
    bias: Option<Derived>,
    /// What adapters add to it.
    added: Option<Added>,
}

impl Linear {
    /// Loads `weight` (out, in), or (in, out) if it is transposed, and `bias` (out).
    pub fn load(scope: &Scope, spec: LinearSpec, outputs: usize, inputs: usize) -> Result<Linear> {
        Linear::load_fused(scope, &[(spec, outputs)], inputs)
    }

    /// Loads several layers, each with its number of outputs, and stacks their outputs.
    pub fn load_fused(scope: &Scope, parts: &[(LinearSpec, usize)], inputs: usize) -> Result<Linear> {
        let is_transposed = parts.iter().any(|(spec, _)| spec.transposed);
        let parameter = |&(spec, outputs): &(LinearSpec, usize)| {
            let shape = if is_transposed { [inputs, outputs] } else { [outputs, inputs] };
            scope.at(spec.path).matrix("weight", &shape, is_transposed)
        };
        let parameters = parts.iter().map(parameter).collect::<Result<Vec<_>>>()?;
        let has_bias = parts.iter().any(|(spec, _)| spec.bias);
        let bias = has_bias.then(|| joined_bias(scope, parts)).transpose()?;
        let places: Vec<_> = parts.iter().map(|&(spec, outputs)| (scope.at(spec.path), outputs)).collect();
        let paths: Vec<&str> = parts.iter().map(|(spec, _)| spec.path).collect();
        Ok(Linear {
            module: scope.at(&together(&paths)).module(),
            weight: if is_transposed { transposed(parameters)? } else { plain(parameters)? },
            bias,
            added: Added::take(&places, inputs)?,
        })
    }

    /// The layer at `scope` of a matrix (out, in) that may belong to another module too, and an own bias.
    pub fn of(scope: Scope, weight: Parameter, bias: Option<Derived>) -> Result<Linear> {
        let (module, outputs, inputs) = (scope.module(), weight.shape()[0], weight.shape()[1]);
        let added = Added::take(&[(scope, outputs)], inputs)?;
        Ok(Linear { module, weight: plain(vec![weight])?, bias, added })
    }

    /// A layer of a matrix (out, in) that `make` makes of a parameter.
    pub fn made(
        module: Module,
        parameter: Tensor,
        make: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
        bias: Tensor,
    ) -> Linear {
        let weight = move |parts: &[Tensor]| Ok(Arc::new(Weight::new(vec![make(&parts[0])?])?));
        Linear {
            module,
            weight: Derived::new(vec![parameter], weight),
            bias: Some(Derived::float(bias)),
            added: None,
        }
    }

    /// Where the parameters of a layer that stands alone lie: the matrix, and the bias if it has one.
    pub fn parameters(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.weight.parts()[0], self.bias.as_ref().and_then(|bias| bias.parts().first()))
    }

    /// The matrix, for those who prepare it.
    pub fn weight(&self) -> Result<Arc<Weight>> {
        self.weight.get()
    }

    /// What its matrix is made of.
    pub fn parts(&self) -> &[Tensor] {
        self.weight.parts()
    }

    /// `activation(x @ weightᵀ + bias)`: (.., in) to (.., out).
    pub fn forward(&self, x: &Tensor, activation: Activation, dropout: &Dropout) -> Result<Tensor> {
        self.step(Entry::of(x, dropout), Then::Activate(activation), &mut Workspace::default())
    }

    /// The same as float32, for what leaves the model.
    pub fn leave(&self, x: &Tensor, activation: Activation, dropout: &Dropout) -> Result<Tensor> {
        let (entry, then) = (Entry::of(x, dropout), Then::Activate(activation));
        Ok(self.run(entry, then, Some(DType::F32), &mut Workspace::default())?.to_dtype(DType::F32)?)
    }

    /// Where the matrix lies, and so where the layer works.
    pub fn device(&self) -> Device {
        self.parameters().0.device()
    }

    /// The same behind the norm of `entry` and with what follows, in memory of the workspace. What lies elsewhere is brought to the matrix.
    pub fn step(&self, entry: Entry, then: Then, workspace: &mut Workspace) -> Result<Tensor> {
        self.run(entry, then, None, workspace)
    }

    /// [`Linear::step`] with a result of `dtype`, if it is not that of what goes in.
    fn run(
        &self,
        entry: Entry,
        then: Then,
        dtype: Option<DType>,
        workspace: &mut Workspace,
    ) -> Result<Tensor> {
        let _measured = self.module.enter();
        let brought = entry.x.to_device(self.device())?;
        let entry = Entry { x: &brought, ..entry };
        let Some(added) = &self.added else { return self.product(entry, then, dtype, workspace) };
        let x = entry.normed()?;
        let entry = Entry { x: &x, norm: None, ..entry };
        let sums = self.product(entry, Then::Activate(Activation::Identity), dtype, workspace)?;
        Ok(then.apply(&added.to(&sums, &x, entry.dropout)?)?)
    }

    /// [`Linear::run`] without what adapters add.
    fn product(
        &self,
        entry: Entry,
        then: Then,
        dtype: Option<DType>,
        workspace: &mut Workspace,
    ) -> Result<Tensor> {
        let (weight, bias) = (self.weight.get()?, self.bias.as_ref().map(Derived::get).transpose()?);
        let step = |x: &Tensor, norm, workspace: &mut _| {
            Ok(LinearStep { x, norm, weight: &weight, bias: bias.as_ref(), then, dtype }.run(workspace)?)
        };
        match entry.norm {
            None => step(entry.x, None, workspace),
            Some(norm) if norm.has_heads => step(&norm.forward(entry.x, None)?, None, workspace),
            Some(norm) => {
                let (weight, bias) = norm.parameters(entry.x.device())?;
                step(entry.x, Some(norm.over(&weight, bias.as_ref())), workspace)
            }
        }
    }
}

/// What goes into a part of a layer: hidden states, and the norm that they have still to go through.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// (rows, width)
    pub x: &'a Tensor,
    pub norm: Option<&'a Norm>,
    /// What adapters drop of it.
    pub dropout: &'a Dropout,
}

impl<'a> Entry<'a> {
    /// What has been through every norm.
    pub fn of(x: &'a Tensor, dropout: &'a Dropout) -> Entry<'a> {
        Entry { x, norm: None, dropout }
    }

    /// The hidden states behind the norm, for those who need them more than once.
    pub fn normed(&self) -> Result<Tensor> {
        self.norm.map_or_else(|| Ok(self.x.clone()), |norm| norm.forward(self.x, None))
    }
}

/// What is done to the result of a part of a layer, to which `residual` is added.
pub fn adding(residual: Option<&Tensor>) -> Then<'_> {
    residual.map_or(Then::Activate(Activation::Identity), Then::Add)
}

/// Matrices that are used as they are.
fn plain(parameters: Vec<Parameter>) -> Result<Derived<Arc<Weight>>> {
    let memory = parameters.iter().map(|parameter| parameter.memory().clone()).collect();
    let matrices = parameters.into_iter().map(|parameter| match parameter {
        Parameter::Dense(tensor) => Matrix::Dense(tensor),
        Parameter::Quantized(matrix, _) => Matrix::Quantized(matrix),
    });
    Ok(Derived::as_it_is(memory, Arc::new(Weight::new(matrices)?)))
}

/// Matrices of transformers' `Conv1D`. Those in blocks are transposed already.
fn transposed(parameters: Vec<Parameter>) -> Result<Derived<Arc<Weight>>> {
    if parameters.iter().all(|parameter| parameter.dense().is_none()) {
        return plain(parameters);
    }
    let parameters = parameters.iter().map(Parameter::tensor).collect::<Result<_>>()?;
    Ok(Derived::new(parameters, |parameters| {
        let matrices = parameters.iter().map(Tensor::mt).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Weight::new(matrices)?))
    }))
}

/// The biases of several layers one after another, in the dtype that hidden states have beside them; zeros where one has none.
fn joined_bias(scope: &Scope, parts: &[(LinearSpec, usize)]) -> Result<Derived> {
    let load = |&(spec, outputs): &(LinearSpec, usize)| match spec.bias {
        true => scope.at(spec.path).tensor("bias", &[outputs], Init::Zeros).map(Some),
        false => Ok(None),
    };
    let loaded = parts.iter().map(load).collect::<Result<Vec<_>>>()?;
    if let [Some(one)] = loaded.as_slice() {
        return Ok(Derived::float(one.clone()));
    }
    // Those that there are, in order, and for each part its width and whether it is one of them.
    let places: Vec<_> =
        loaded.iter().zip(parts).map(|(bias, (_, width))| (bias.is_some(), *width)).collect();
    Ok(Derived::new(loaded.into_iter().flatten().collect(), move |biases| {
        let Site { device, dtype } = Site::of(biases);
        let mut biases = biases.iter();
        let one = |&(has_bias, width): &(bool, usize)| match has_bias.then(|| biases.next()).flatten() {
            Some(bias) => bias.to_dtype(dtype),
            None => Tensor::zeros_on(&[width], dtype, device),
        };
        let all = places.iter().map(one).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&all.iter().collect::<Vec<_>>(), 0)?)
    }))
}

/// What a norm without a weight has in its place: made once on each device that asks for it.
struct Ones {
    width: usize,
    made: RwLock<Vec<Tensor>>,
}

impl Ones {
    fn new(width: usize) -> Ones {
        Ones { width, made: RwLock::default() }
    }

    fn on(&self, device: Device) -> Result<Tensor> {
        let is_there = |made: &&Tensor| made.device() == device;
        // A panic elsewhere leaves whole tensors.
        if let Some(made) = self.made.read().unwrap_or_else(PoisonError::into_inner).iter().find(is_there) {
            return Ok(made.clone());
        }
        // A copy, which no graph records: one that is made in a graph's memory lasts no longer than that.
        let made = Tensor::ones(&[self.width], DType::F32)?.to_device(device)?;
        self.made.write().unwrap_or_else(PoisonError::into_inner).push(made.clone());
        Ok(made)
    }
}

/// A norm over the last dimension.
pub struct Norm {
    module: Module,
    kind: NormKind,
    weight: Option<Derived>,
    bias: Option<Derived>,
    ones: Ones,
    /// Whether there is a scale for each head.
    has_heads: bool,
    eps: f32,
}

impl Norm {
    /// Loads `weight` and, if it has one, `bias` (width).
    pub fn load(scope: &Scope, spec: NormSpec, width: usize) -> Result<Norm> {
        let scope = scope.at(spec.path);
        if spec.kind == NormKind::LayerPlain {
            return Ok(Norm {
                module: scope.module(),
                kind: spec.kind,
                weight: None,
                bias: None,
                ones: Ones::new(width),
                has_heads: false,
                eps: spec.eps,
            });
        }
        let plus_one = spec.kind == NormKind::RmsPlusOne;
        let init = if plus_one { Init::Zeros } else { Init::Ones };
        let weight = scope.tensor("weight", &[width], init)?;
        Ok(Norm {
            module: scope.module(),
            kind: spec.kind,
            weight: Some(match plus_one {
                true => Derived::new(vec![weight], |parts| Ok(parts[0].to_dtype(DType::F32)?.add(1.0)?)),
                false => Derived::float(weight),
            }),
            bias: match spec.kind {
                NormKind::Layer => Some(Derived::float(scope.tensor("bias", &[width], Init::Zeros)?)),
                _ => None,
            },
            ones: Ones::new(width),
            has_heads: false,
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
        let weight = Derived::new(scales, |scales| {
            Ok(Tensor::stack(&scales.iter().collect::<Vec<_>>(), 0)?.to_dtype(DType::F32)?)
        });
        let module = scope.at(spec.path).module();
        let (weight, ones) = (Some(weight), Ones::new(head_dim));
        Ok(Norm { module, kind: spec.kind, weight, bias: None, ones, has_heads: true, eps: spec.eps })
    }

    /// Normalises `x + residual` over its last dimension.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let _measured = self.module.enter();
        let (weight, bias) = self.parameters(x.device())?;
        // In mixed precision this is not of 16 bits.
        let x = &if autocast().is_some() { x.to_dtype(DType::F32)? } else { x.clone() };
        if self.has_heads {
            let normed = ops::layer_norm(x, residual, &self.ones.on(x.device())?, None, self.eps)?;
            return Ok(normed.mul(&weight)?.to_dtype(x.dtype())?);
        }
        match (self.over(&weight, bias.as_ref()), residual) {
            (ops::Norm::Layer { weight, bias, eps }, residual) => {
                Ok(ops::layer_norm(x, residual, weight, bias, eps)?)
            }
            (norm, Some(residual)) => Ok(norm.apply(&x.add(residual)?)?),
            (norm, None) => Ok(norm.apply(x)?),
        }
    }

    /// Weight and bias where they are used.
    fn parameters(&self, device: Device) -> Result<(Tensor, Option<Tensor>)> {
        let brought = |parameter: &Derived| Ok::<_, Error>(parameter.get()?.to_device(device)?);
        let weight = self.weight.as_ref().map_or_else(|| self.ones.on(device), brought)?;
        Ok((weight, self.bias.as_ref().map(brought).transpose()?))
    }

    /// The operation with this weight and bias. Not for norms of heads.
    fn over<'a>(&self, weight: &'a Tensor, bias: Option<&'a Tensor>) -> ops::Norm<'a> {
        let eps = self.eps;
        match self.kind {
            NormKind::Layer | NormKind::LayerNoBias | NormKind::LayerPlain => {
                ops::Norm::Layer { weight, bias, eps }
            }
            NormKind::Rms | NormKind::RmsPlusOne => ops::Norm::Rms { weight, eps },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_are_made_once() {
        let ones = Ones::new(3);
        let first = ones.on(Device::Cpu).unwrap();
        assert_eq!(first.as_slice::<f32>().unwrap(), [1.0; 3]);
        assert!(ones.on(Device::Cpu).unwrap().shares_storage(&first));
    }
}
