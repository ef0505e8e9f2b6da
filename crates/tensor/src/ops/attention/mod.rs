//! Scaled dot-product attention (Vaswani et al. 2017) over sequences of different lengths laid one after another.

mod ragged;
mod store;
mod table;

#[cfg(test)]
mod tests;

pub use ragged::{Mask, Ragged, Sequence};
pub use store::{Places, StoreForm, store_rows, stored_dim, stored_rows, turn_and_store};

use smallvec::SmallVec;

use super::{Dropout, Generator};
use crate::autograd::{Grads, differentiate, is_grad_enabled, no_grad, record};
use crate::layout::broadcast_shapes;
use crate::{DType, Error, Result, Tensor, Workspace};

#[derive(Clone, Copy)]
/// One attention: every row of a sequence looks at the keys of its own sequence.
pub struct Attention<'a> {
    /// (rows, heads, head_dim) of floats, activations of its device where speed matters; strided views are welcome.
    pub query: &'a Tensor,
    /// (key rows, kv_heads, head_dim), or a store of any [`StoreForm`]. The heads are a multiple of these: each serves a group of them
    /// (Ainslie et al. 2023).
    pub key: &'a Tensor,
    /// (key rows, kv_heads, value_dim), or a store.
    pub value: &'a Tensor,
    /// Which rows belong together.
    pub ragged: &'a Ragged,
    /// What the products are multiplied with, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Which keys a row may see.
    pub mask: Mask,
    /// One tensor per sequence, of any strides, that broadcasts to (heads, rows, keys) and is added to the scaled products: ALiBi,
    /// relative positions, any mask. -∞ hides a key.
    pub bias: Option<&'a [Tensor]>,
    /// Bounds the scaled products smoothly, before the bias: `cap * tanh(products / cap)`.
    pub softcap: Option<f32>,
    /// Which probabilities are dropped. They are returned as they are used: dropped.
    pub dropout: Option<Dropout>,
    /// Whether to return the probabilities too.
    pub probabilities: bool,
}

/// What attention gives.
pub struct Attended {
    /// The values, weighed: (rows, heads * value_dim).
    pub context: Tensor,
    /// If asked for, one (heads, rows, keys) tensor per sequence.
    pub probabilities: Option<Vec<Tensor>>,
}

/// What an attention is besides its tensors, for its gradient.
struct Settings {
    ragged: Ragged,
    scale: f32,
    mask: Mask,
    softcap: Option<f32>,
    dropout: Option<Dropout>,
    biased: bool,
}

impl Settings {
    fn of(attention: &Attention) -> Settings {
        let Attention { ragged, scale, mask, bias, softcap, dropout, .. } = *attention;
        Settings { ragged: ragged.clone(), scale, mask, softcap, dropout, biased: bias.is_some() }
    }

    /// The attention of query, key, value and biases.
    fn with<'a>(&'a self, tensors: &'a [Tensor]) -> Result<Attention<'a>> {
        let [query, key, value, bias @ ..] = tensors else {
            return Err(Error::argument("attention", "query, key and value must be given"));
        };
        let Settings { scale, mask, softcap, dropout, .. } = *self;
        let bias = self.biased.then_some(bias);
        let attention = Attention::new(query, key, value, &self.ragged);
        Ok(Attention { scale, mask, bias, softcap, dropout, ..attention })
    }
}

impl<'a> Attention<'a> {
    /// The usual attention: scaled by `1 / sqrt(head_dim)`, all keys seen, nothing added, no probabilities.
    pub fn new(query: &'a Tensor, key: &'a Tensor, value: &'a Tensor, ragged: &'a Ragged) -> Attention<'a> {
        let head_dim = query.shape().last().copied().unwrap_or(1) as f32;
        let (scale, mask) = (head_dim.sqrt().recip(), Mask::default());
        Attention {
            query,
            key,
            value,
            ragged,
            scale,
            mask,
            bias: None,
            softcap: None,
            dropout: None,
            probabilities: false,
        }
    }

    /// Computes `softmax(query keyᵀ · scale) value` for every sequence and head. A row that sees no key gives zeros.
    ///
    /// # Errors
    /// `Shapes` and `Argument` when the tensors and the ragged batch do not fit one another; `DType` for other than floats.
    pub fn run(&self) -> Result<Attended> {
        self.run_in(&mut Workspace::default())
    }

    /// [`Attention::run`] with the context in memory of the `workspace` if it has some.
    ///
    /// # Errors
    /// As for [`Attention::run`].
    pub fn run_in(&self, workspace: &mut Workspace) -> Result<Attended> {
        let sources = self.check()?;
        if self.query.is_autocast() {
            let (query, key, value) = (self.query.autocast()?, self.key.autocast()?, self.value.autocast()?);
            return Attention { query: &query, key: &key, value: &value, ..*self }.run_in(workspace);
        }
        let asked = is_grad_enabled() && sources.iter().any(|source| source.requires_grad());
        let backend = self.query.backend();
        let dtype = self.query.dtype();
        let is_taken = sources.iter().zip(0..).all(|(source, index)| match (index, source.dtype()) {
            (1 | 2, DType::F32 | DType::F16 | DType::U8) if !asked => true,
            (0..=2, own) => own == dtype && backend.takes(dtype),
            (_, bias) => backend.takes(bias),
        });
        if asked && self.probabilities {
            return self.composed();
        }
        let Attended { context, probabilities } = if is_taken && (self.dropout.is_none() || backend.drops()) {
            let value_dim = store::stored_dim(self.value).unwrap_or(0);
            let shape = [self.query.shape()[0], self.query.shape()[1] * value_dim];
            let context = workspace.take(&shape, dtype, self.query.device())?;
            let probabilities = backend.attention(&context, self)?;
            Attended { context, probabilities }
        } else {
            // No kernel holds what it computes on the way, and neither does the tape.
            no_grad(|| self.composed())?
        };
        if !asked {
            return Ok(Attended { context, probabilities });
        }
        let settings = Settings::of(self);
        let context = record("attention", context, &sources, &sources, move |b| {
            // Gradients of gradients are those of one operation after another.
            if !is_grad_enabled() {
                let (grad, attention) = (b.grad().contiguous()?, settings.with(b.saved)?);
                let of_biases = (3..b.saved.len()).any(|bias| b.needs(bias));
                let backend = attention.query.backend();
                if let Some(found) = backend.attention_gradient(&attention, &grad, of_biases)? {
                    let mut all: Grads = b.saved.iter().map(|_| None).collect();
                    for (to, (found, source)) in all.iter_mut().zip(found.into_iter().zip(b.saved)) {
                        *to = Some(found.sum_to(source.shape())?);
                    }
                    return Ok(all);
                }
            }
            differentiate(b, |tensors| Ok(settings.with(tensors)?.composed()?.context))
        });
        Ok(Attended { context, probabilities })
    }

    /// Everything that is computed with: query, key, value and biases, if they fit.
    fn check(&self) -> Result<SmallVec<[&'a Tensor; 4]>> {
        let (query, key, value) = (self.query, self.key, self.value);
        let mut sources: SmallVec<[&Tensor; 4]> = SmallVec::from_slice(&[query, key, value]);
        sources.extend(self.bias.unwrap_or(&[]).iter());
        for (index, source) in sources.iter().enumerate() {
            if !(matches!(index, 1 | 2) && source.dtype() == DType::U8) {
                source.expect_float("attention")?;
            }
        }
        super::same_place("attention", sources.iter().copied())?;
        let shapes = |rule, left: &Tensor, right: &Tensor| {
            let (left, right) = (left.shape().into(), right.shape().into());
            Err(Error::Shapes { op: "attention", rule, left, right })
        };
        let (&[rows, heads, head_dim], &[key_rows, kv_heads, key_dim]) = (query.shape(), key.shape()) else {
            return shapes("query and key must be (rows, heads, head_dim)", query, key);
        };
        let key_dim = store::stored_dim(key).unwrap_or(key_dim);
        if head_dim != key_dim || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return shapes(
                "query and key must have one head_dim, and the key's heads divide the query's",
                query,
                key,
            );
        }
        if value.ndim() != 3 || value.shape()[..2] != key.shape()[..2] {
            return shapes("key and value must have the same rows and heads", key, value);
        }
        if heads * head_dim * store::stored_dim(value).unwrap_or(0) == 0 {
            return shapes("there must be at least one head of at least one element", query, value);
        }
        if self.ragged.total() != rows {
            let message = format!("the sequences have {} rows, the query {rows}", self.ragged.total());
            return Err(Error::argument("attention", message));
        }
        let sequences = self.ragged.sequences();
        let fits = |s: &&Sequence| s.key_start.checked_add(s.keys).is_none_or(|end| end > key_rows);
        if let Some(s) = sequences.iter().find(fits) {
            let message = format!(
                "a sequence has {} keys from row {} on, the key {key_rows} rows",
                s.keys, s.key_start
            );
            return Err(Error::argument("attention", message));
        }
        if let Some(biases) = self.bias {
            if biases.len() != sequences.len() {
                let message = format!("there are {} biases for {} sequences", biases.len(), sequences.len());
                return Err(Error::argument("attention", message));
            }
            for (bias, s) in biases.iter().zip(sequences) {
                let whole = [heads, s.rows, s.keys];
                if !broadcast_shapes("attention", bias.shape(), &whole).is_ok_and(|shape| shape[..] == whole)
                {
                    let rule = "a bias must broadcast to the (heads, rows, keys) of its sequence";
                    let (left, right) = (bias.shape().into(), whole.into());
                    return Err(Error::Shapes { op: "attention", rule, left, right });
                }
            }
        }
        Ok(sources)
    }

    /// The same as one operation after another, sequence by sequence.
    pub(crate) fn composed(&self) -> Result<Attended> {
        if self.key.dtype() == DType::U8 || self.value.dtype() == DType::U8 {
            let (key, value) = (store::floats(self.key)?, store::floats(self.value)?);
            return Attention { key: &key, value: &value, ..*self }.composed();
        }
        let (heads, kv_heads, value_dim) =
            (self.query.shape()[1], self.key.shape()[1], self.value.shape()[2]);
        let (mut contexts, mut probabilities) = (Vec::new(), Vec::new());
        let dropout = self.dropout.map(|Dropout { p, seed }| (p, Generator::new(seed)));
        for (index, s) in self.ragged.sequences().iter().enumerate() {
            // (kv_heads, heads of a group, rows, head_dim), and (kv_heads, 1, keys, head_dim or value_dim)
            let query = self.query.narrow(0, s.start, s.start + s.rows)?.transpose(0, 1)?;
            let query = query.reshape(&[kv_heads, heads / kv_heads, s.rows, query.shape()[2]])?;
            let part =
                |x: &Tensor| x.narrow(0, s.key_start, s.key_start + s.keys)?.transpose(0, 1)?.unsqueeze(1);
            let mut scores = query.matmul(&part(self.key)?.mt()?)?.mul(f64::from(self.scale))?;
            scores = scores.reshape(&[heads, s.rows, s.keys])?;
            if let Some(cap) = self.softcap.map(f64::from) {
                scores = scores.div(cap)?.tanh()?.mul(cap)?;
            }
            if let Some(biases) = self.bias {
                scores = scores.add(&biases[index].to_dtype(scores.dtype())?)?;
            }
            let mut p = if s.keys == 0 { scores } else { self.normalised(s, &scores)? };
            if let Some((rate, generator)) = &dropout {
                p = p.dropout(*rate, generator)?;
            }
            let weighed =
                p.reshape(&[kv_heads, heads / kv_heads, s.rows, s.keys])?.matmul(&part(self.value)?)?;
            let weighed = weighed.reshape(&[heads, s.rows, value_dim])?;
            contexts.push(weighed.transpose(0, 1)?.reshape(&[s.rows, heads * value_dim])?);
            probabilities.push(p);
        }
        let context = match contexts.as_slice() {
            [] => Tensor::zeros_on(&[0, heads * value_dim], self.query.dtype(), self.query.device())?,
            parts => Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?,
        };
        Ok(Attended { context, probabilities: self.probabilities.then_some(probabilities) })
    }

    /// The softmax of `scores` (heads, rows, keys) over the keys that each row sees; zeros where it sees none.
    fn normalised(&self, s: &Sequence, scores: &Tensor) -> Result<Tensor> {
        let hidden: Vec<u8> = (0..s.rows)
            .flat_map(|row| {
                let visible = self.mask.visible(s, row);
                (0..s.keys).map(move |key| u8::from(!visible.contains(&key)))
            })
            .collect();
        let hidden = Tensor::from_bytes(&hidden, &[s.rows, s.keys], DType::Bool)?;
        let hidden = hidden.to_device(scores.device())?;
        let scores = scores.masked_fill(&hidden, f64::NEG_INFINITY)?;
        let blind = scores.detach().amax(&[-1], true)?.eq(f64::NEG_INFINITY)?;
        scores.masked_fill(&blind, 0.0)?.softmax(-1)?.masked_fill(&blind, 0.0)
    }
}
