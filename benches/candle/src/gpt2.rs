//! GPT-2, which candle-transformers lacks, of candle's operations: what transformers' `GPT2LMHeadModel` computes.

use std::path::Path;

use candle_core::{D, DType, Device, IndexOp, Module, Result, Tensor};
use candle_nn::kv_cache::KvCache;
use candle_nn::{LayerNorm, VarBuilder, layer_norm, ops};

use crate::Language;

const LAYERS: usize = 12;
const HEADS: usize = 12;
const HIDDEN: usize = 768;
const POSITIONS: usize = 1024;
const VOCABULARY: usize = 50257;

/// A linear layer as GPT-2 keeps it: its weight is (in, out).
struct Projection {
    weight: Tensor,
    bias: Tensor,
}

impl Projection {
    fn new(inputs: usize, outputs: usize, scope: VarBuilder) -> Result<Self> {
        Ok(Self { weight: scope.get((inputs, outputs), "weight")?, bias: scope.get(outputs, "bias")? })
    }

    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

struct Layer {
    before_attention: LayerNorm,
    before_feed_forward: LayerNorm,
    queries_keys_values: Projection,
    attended: Projection,
    wide: Projection,
    narrow: Projection,
    cache: KvCache,
}

impl Layer {
    fn new(scope: VarBuilder) -> Result<Self> {
        Ok(Self {
            before_attention: layer_norm(HIDDEN, 1e-5, scope.pp("ln_1"))?,
            before_feed_forward: layer_norm(HIDDEN, 1e-5, scope.pp("ln_2"))?,
            queries_keys_values: Projection::new(HIDDEN, 3 * HIDDEN, scope.pp("attn.c_attn"))?,
            attended: Projection::new(HIDDEN, HIDDEN, scope.pp("attn.c_proj"))?,
            wide: Projection::new(HIDDEN, 4 * HIDDEN, scope.pp("mlp.c_fc"))?,
            narrow: Projection::new(4 * HIDDEN, HIDDEN, scope.pp("mlp.c_proj"))?,
            cache: KvCache::new(1, POSITIONS),
        })
    }

    /// (length, hidden) to the same.
    fn forward(&mut self, rows: &Tensor) -> Result<Tensor> {
        let rows = (rows + self.attention(&self.before_attention.forward(rows)?)?)?;
        let wide = self.wide.forward(&self.before_feed_forward.forward(&rows)?)?;
        &rows + self.narrow.forward(&wide.gelu()?)?
    }

    fn attention(&mut self, rows: &Tensor) -> Result<Tensor> {
        let length = rows.dim(0)?;
        let mixed = self.queries_keys_values.forward(rows)?;
        let heads = |index: usize| {
            mixed
                .narrow(1, index * HIDDEN, HIDDEN)?
                .reshape((length, HEADS, HIDDEN / HEADS))?
                .transpose(0, 1)?
                .contiguous()
        };
        let (keys, values) = self.cache.append(&heads(1)?, &heads(2)?)?;
        let scores = heads(0)?.matmul(&keys.t()?)?;
        let scores = (scores * (1.0 / ((HIDDEN / HEADS) as f64).sqrt()))?;
        let scores = match length {
            1 => scores,
            _ => scores.broadcast_add(&future(length, keys.dim(1)?)?)?,
        };
        let mixed = ops::softmax_last_dim(&scores)?.matmul(&values)?;
        self.attended.forward(&mixed.transpose(0, 1)?.reshape((length, HIDDEN))?)
    }
}

/// What is added to scores (length, keys) so that no row sees what comes after it.
fn future(length: usize, keys: usize) -> Result<Tensor> {
    let row = |i: usize| (0..keys).map(move |j| if j > i + keys - length { f32::NEG_INFINITY } else { 0.0 });
    let mask: Vec<f32> = (0..length).flat_map(row).collect();
    Tensor::from_vec(mask, (length, keys), &Device::Cpu)
}

pub struct Gpt2 {
    tokens: Tensor,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
}

impl Gpt2 {
    pub fn open(folder: &Path) -> Result<Self> {
        let files = [folder.join("model.safetensors")];
        // SAFETY: nobody writes to the file while it is mapped.
        let scope = unsafe { VarBuilder::from_mmaped_safetensors(&files, DType::F32, &Device::Cpu)? };
        let scope = scope.pp("transformer");
        Ok(Self {
            tokens: scope.get((VOCABULARY, HIDDEN), "wte.weight")?,
            positions: scope.get((POSITIONS, HIDDEN), "wpe.weight")?,
            layers: (0..LAYERS).map(|i| Layer::new(scope.pp(format!("h.{i}")))).collect::<Result<_>>()?,
            norm: layer_norm(HIDDEN, 1e-5, scope.pp("ln_f"))?,
        })
    }
}

impl Language for Gpt2 {
    fn forget(&mut self) {
        for layer in &mut self.layers {
            layer.cache.reset();
        }
    }

    fn scores(&mut self, ids: &[u32], past: usize) -> Result<Tensor> {
        let words = self.tokens.index_select(&Tensor::new(ids, &Device::Cpu)?, 0)?;
        let mut rows = (words + self.positions.narrow(0, past, ids.len())?)?;
        for layer in &mut self.layers {
            rows = layer.forward(&rows)?;
        }
        let last = self.norm.forward(&rows.i(ids.len() - 1..)?)?;
        last.matmul(&self.tokens.t()?)?.squeeze(D::Minus2)
    }
}
