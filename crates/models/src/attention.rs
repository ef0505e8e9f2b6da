//! Multi-head attention with its projections.

use trustformers_tensor::ops::{Mask, Then};
use trustformers_tensor::profile::Module;
use trustformers_tensor::{Activation, Attended, Attention, Ragged, Tensor, Workspace};

use crate::checkpoint::Scope;
use crate::disentangled::{DistanceBias, Distances};
use crate::dropout::Dropout;
use crate::layers::{Entry, Linear, Norm, adding};
use crate::paths::around;
use crate::spec::{AttentionSpec, FusedOrder, NormOver, NormSpec, Projection};
use crate::{Error, Result};

/// Attention of one layer.
pub struct MultiHead {
    module: Module,
    spec: AttentionSpec,
    inputs: Inputs,
    output: Linear,
    norms: Option<[HeadNorm; 2]>,
    distances: Option<DistanceBias>,
}

/// The projections that are applied together.
enum Inputs {
    /// Queries, keys and values of the same hidden states.
    Together(Linear),
    /// Queries of some hidden states, keys and values of others.
    Apart { query: Box<Linear>, key_value: Box<Linear> },
}

/// Queries, keys and values: (rows, heads, head_dim) each.
pub struct Heads {
    pub query: Tensor,
    pub key: Tensor,
    pub value: Tensor,
}

/// What the heads look at and how.
pub struct Look<'a> {
    pub ragged: &'a Ragged,
    pub causal: bool,
    pub window: Option<usize>,
    pub bias: Option<&'a [Tensor]>,
    pub dropout: &'a Dropout,
    pub probabilities: bool,
}

impl MultiHead {
    /// Loads self-attention, or attention to other hidden states, `width` wide both.
    pub fn load(scope: &Scope, spec: &AttentionSpec, width: usize, crosses: bool) -> Result<MultiHead> {
        let AttentionSpec { heads, kv_heads, head_dim, .. } = *spec;
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(Error::Config(format!(
                "`num_attention_heads` ({heads}) must be a multiple of `num_key_value_heads` ({kv_heads})"
            )));
        }
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let inputs = match (spec.projection, crosses) {
            (Projection::Separate([q, k, v]), false) => {
                Inputs::Together(Linear::load_fused(scope, &[(q, queries), (k, keys), (v, keys)], width)?)
            }
            (Projection::Separate([q, k, v]), true) => Inputs::Apart {
                query: Box::new(Linear::load(scope, q, queries, width)?),
                key_value: Box::new(Linear::load_fused(scope, &[(k, keys), (v, keys)], width)?),
            },
            (Projection::Halves(q, kv), _) => Inputs::Apart {
                query: Box::new(Linear::load(scope, q, queries, width)?),
                key_value: Box::new(Linear::load(scope, kv, 2 * keys, width)?),
            },
            (Projection::Fused(all, _), _) => {
                Inputs::Together(Linear::load(scope, all, queries + 2 * keys, width)?)
            }
        };
        let norms = spec.qk_norm.map(|norm| -> Result<_> {
            let load = |one, heads| HeadNorm::load(scope, one, norm.over, heads, head_dim);
            Ok([load(norm.query, heads)?, load(norm.key, kv_heads)?])
        });
        let module = match spec.projection {
            Projection::Separate(parts) => scope.at(around(&parts.map(|part| part.path))),
            Projection::Halves(query, key_value) => scope.at(around(&[query.path, key_value.path])),
            Projection::Fused(all, _) => scope.at(around(&[all.path])),
        };
        Ok(MultiHead {
            module: module.module(),
            inputs,
            output: Linear::load(scope, spec.output, width, queries)?,
            norms: norms.transpose()?,
            distances: spec
                .distances
                .map(|distances| DistanceBias::load(scope, distances, width, queries))
                .transpose()?,
            spec: spec.clone(),
        })
    }

    /// Its name, for what it takes.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The number of heads.
    pub fn heads(&self) -> usize {
        self.spec.heads
    }

    /// How far a position sees.
    pub fn window(&self) -> Option<usize> {
        self.spec.window
    }

    /// Which of the stack's rotary embeddings is applied.
    pub fn rotary(&self) -> Option<usize> {
        self.spec.rotary
    }

    /// The matrices, for those who prepare them.
    pub fn linears(&self) -> Vec<&Linear> {
        let mut linears = match &self.inputs {
            Inputs::Together(all) => vec![all, &self.output],
            Inputs::Apart { query, key_value } => vec![query, key_value, &self.output],
        };
        linears.extend(self.distances.iter().flat_map(DistanceBias::linears));
        linears
    }

    /// Queries, keys and values of some rows (rows, width), normalised where the architecture does so.
    pub fn project(&self, entry: Entry, workspace: &mut Workspace) -> Result<Heads> {
        let Inputs::Together(linear) = &self.inputs else {
            let x = entry.normed()?;
            let [key, value] = self.project_keys(&x, entry.dropout)?;
            let query = self.project_queries(Entry::of(&x, entry.dropout))?;
            return Ok(Heads { query, key, value });
        };
        let AttentionSpec { heads, kv_heads, head_dim, .. } = self.spec;
        let rows = entry.x.shape()[0];
        let all = linear.step(entry, Then::Activate(Activation::Identity), workspace)?;
        let (query, key, value) = match self.spec.projection {
            Projection::Fused(_, FusedOrder::Grouped) => {
                let group = heads / kv_heads;
                let all = all.view(&[rows, kv_heads, group + 2, head_dim])?;
                let query = all.narrow(2, 0, group)?.reshape(&[rows, heads, head_dim])?;
                (query, all.select(2, group)?, all.select(2, group + 1)?)
            }
            _ => {
                let all = all.view(&[rows, heads + 2 * kv_heads, head_dim])?;
                let (keys, values) = (heads + kv_heads, heads + 2 * kv_heads);
                let part = |from, to| all.narrow(1, from, to);
                (part(0, heads)?, part(heads, keys)?, part(keys, values)?)
            }
        };
        match &self.norms {
            Some([q, k]) => Ok(Heads { query: q.forward(&query)?, key: k.forward(&key)?, value }),
            None => Ok(Heads { query, key, value }),
        }
    }

    /// The queries alone, for attention to other hidden states.
    pub fn project_queries(&self, entry: Entry) -> Result<Tensor> {
        let workspace = &mut Workspace::default();
        match &self.inputs {
            Inputs::Apart { query, .. } => {
                let shape = [entry.x.shape()[0], self.spec.heads, self.spec.head_dim];
                Ok(query.step(entry, Then::Activate(Activation::Identity), workspace)?.view(&shape)?)
            }
            Inputs::Together(_) => Ok(self.project(entry, workspace)?.query),
        }
    }

    /// The keys and values of `x` alone.
    pub fn project_keys(&self, x: &Tensor, dropout: &Dropout) -> Result<[Tensor; 2]> {
        match &self.inputs {
            Inputs::Apart { key_value, .. } => {
                let AttentionSpec { kv_heads, head_dim, .. } = self.spec;
                let shape = [x.shape()[0], 2 * kv_heads, head_dim];
                let both = key_value.forward(x, Activation::Identity, dropout)?.view(&shape)?;
                Ok([both.narrow(1, 0, kv_heads)?, both.narrow(1, kv_heads, 2 * kv_heads)?])
            }
            Inputs::Together(_) => {
                let Heads { key, value, .. } =
                    self.project(Entry::of(x, dropout), &mut Workspace::default())?;
                Ok([key, value])
            }
        }
    }

    /// What the distances of a pass add to the scores of each sequence, if this layer looks at them.
    pub fn distance_bias(
        &self,
        heads: &Heads,
        distances: &Distances,
        ragged: &Ragged,
        dropout: &Dropout,
    ) -> Result<Option<Vec<Tensor>>> {
        match &self.distances {
            Some(own) => own.of(heads, distances, ragged, self.spec.scale, dropout, |vectors| {
                self.project(Entry::of(vectors, dropout), &mut Workspace::default())
            }),
            None => Ok(None),
        }
    }

    /// What the heads see, back in the hidden size and with `residual` added, and the probabilities if they are asked for.
    pub fn attend(
        &self,
        heads: &Heads,
        look: &Look,
        residual: Option<&Tensor>,
        workspace: &mut Workspace,
    ) -> Result<(Tensor, Option<Vec<Tensor>>)> {
        let Attended { context, probabilities } = Attention {
            query: &heads.query,
            key: &heads.key,
            value: &heads.value,
            ragged: look.ragged,
            scale: self.spec.scale,
            mask: Mask { causal: look.causal, window: look.window },
            bias: look.bias,
            softcap: self.spec.softcap,
            dropout: look.dropout.of_attention(self.spec.dropout),
            probabilities: look.probabilities,
        }
        .run_in(workspace)?;
        let out = self.output.step(Entry::of(&context, look.dropout), adding(residual), workspace)?;
        workspace.give(context);
        Ok((out, probabilities))
    }
}

/// A norm of queries or keys.
struct HeadNorm {
    over: NormOver,
    norm: Norm,
}

impl HeadNorm {
    fn load(
        scope: &Scope,
        spec: NormSpec,
        over: NormOver,
        heads: usize,
        head_dim: usize,
    ) -> Result<HeadNorm> {
        let norm = match over {
            NormOver::Head => Norm::load(scope, spec, head_dim)?,
            NormOver::All => Norm::load(scope, spec, heads * head_dim)?,
            NormOver::EachHead => Norm::load_each(scope, spec, heads, head_dim)?,
        };
        Ok(HeadNorm { over, norm })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self.over {
            NormOver::All => {
                let &[rows, heads, head_dim] = x.shape() else { return Ok(x.clone()) };
                let flat = x.reshape(&[rows, heads * head_dim])?;
                Ok(self.norm.forward(&flat, None)?.view(&[rows, heads, head_dim])?)
            }
            _ => self.norm.forward(&x.contiguous()?, None),
        }
    }
}
