//! Scaled dot-product attention (Vaswani et al. 2017) over sequences of different lengths laid one after another.

use crate::autograd::{fused, is_grad_enabled};
use crate::{DType, Error, Result, Tensor};

/// Where one sequence lies in a ragged batch: its rows, and how many of them, from the first on, are keys that its rows may see.
/// Rows beyond the keys ask but are not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The first row.
    pub start: usize,
    /// The number of rows.
    pub rows: usize,
    /// How many of the rows are keys.
    pub keys: usize,
}

/// Sequences of different lengths, one after another without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ragged {
    sequences: Vec<Sequence>,
}

impl Ragged {
    /// Appends a sequence of `rows` rows of which the first `keys` are keys.
    pub fn push(&mut self, rows: usize, keys: usize) {
        self.sequences.push(Sequence { start: self.total(), rows, keys: keys.min(rows) });
    }

    /// The sequences in order.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// The number of rows of all sequences.
    pub fn total(&self) -> usize {
        self.sequences.last().map_or(0, |last| last.start + last.rows)
    }
}

/// One attention: every row of a sequence looks at the keys of its own sequence.
pub struct Attention<'a> {
    /// (total, heads, head_dim) of floats, float32 where speed matters; strided views are welcome.
    pub query: &'a Tensor,
    /// Like `query`.
    pub key: &'a Tensor,
    /// Like `query`.
    pub value: &'a Tensor,
    /// Which rows belong together.
    pub ragged: &'a Ragged,
    /// What the products are multiplied with, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Whether to return the probabilities too.
    pub probabilities: bool,
}

/// What attention gives.
pub struct Attended {
    /// The values, weighed: (total, heads * head_dim).
    pub context: Tensor,
    /// If asked for, one (heads, rows, keys) tensor per sequence.
    pub probabilities: Option<Vec<Tensor>>,
}

impl Attention<'_> {
    /// Computes `softmax(query keyᵀ · scale) value` for every sequence and head. A row whose sequence has no keys gives zeros.
    ///
    /// # Errors
    /// `Shapes` when query, key and value differ or do not have the ragged batch's rows; `DType` for other dtypes.
    pub fn run(&self) -> Result<Attended> {
        let sources = [self.query, self.key, self.value];
        sources.iter().try_for_each(|source| source.expect_float("attention"))?;
        for other in [self.key, self.value] {
            if other.shape() != self.query.shape() || other.ndim() != 3 {
                return Err(Error::Shapes {
                    op: "attention",
                    rule: "query, key and value must all be (rows, heads, head_dim)",
                    left: self.query.shape().into(),
                    right: other.shape().into(),
                });
            }
        }
        if self.ragged.total() != self.query.shape()[0] {
            let message = format!(
                "the sequences have {} rows, the query {:?}",
                self.ragged.total(),
                self.query.shape()
            );
            return Err(Error::argument("attention", message));
        }
        let asked = is_grad_enabled() && sources.iter().any(|source| source.requires_grad());
        let is_single = sources.iter().all(|source| source.dtype() == DType::F32);
        if !is_single || asked && self.probabilities {
            return composed(sources, self.ragged, self.scale, self.probabilities);
        }
        let Attended { context, probabilities } = self.query.backend().attention(self)?;
        if !asked {
            return Ok(Attended { context, probabilities });
        }
        let (ragged, scale) = (self.ragged.clone(), self.scale);
        let context = fused("attention", context, &sources, move |x| {
            Ok(composed([&x[0], &x[1], &x[2]], &ragged, scale, false)?.context)
        });
        Ok(Attended { context, probabilities })
    }
}

/// The same as one operation after another, sequence by sequence.
fn composed([query, key, value]: [&Tensor; 3], ragged: &Ragged, scale: f32, keep: bool) -> Result<Attended> {
    let (heads, head_dim) = (query.shape()[1], query.shape()[2]);
    let (mut contexts, mut probabilities) = (Vec::new(), Vec::new());
    for s in ragged.sequences() {
        // (heads, rows, head_dim)
        let part = |x: &Tensor, rows| x.narrow(0, s.start, s.start + rows)?.transpose(0, 1);
        let scores = part(query, s.rows)?.matmul(&part(key, s.keys)?.mt()?)?.mul(f64::from(scale))?;
        let p = scores.softmax(-1)?;
        contexts
            .push(p.matmul(&part(value, s.keys)?)?.transpose(0, 1)?.reshape(&[s.rows, heads * head_dim])?);
        probabilities.push(p);
    }
    let context = match contexts.as_slice() {
        [] => Tensor::zeros_of(&[0, heads * head_dim], query.dtype())?,
        parts => Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?,
    };
    Ok(Attended { context, probabilities: keep.then_some(probabilities) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    /// The definition, in f64, one row at a time.
    fn reference(
        qkv: &[f32],
        at: impl Fn(usize, usize, usize) -> usize,
        s: Sequence,
        row: usize,
        scale: f64,
        d: usize,
    ) -> Vec<f64> {
        let dot = |key: usize| {
            (0..d).map(|i| f64::from(qkv[at(0, row, i)]) * f64::from(qkv[at(1, key, i)])).sum::<f64>()
        };
        let scores: Vec<f64> = (s.start..s.start + s.keys).map(|key| dot(key) * scale).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exp: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
        let sum: f64 = exp.iter().sum();
        (0..d)
            .map(|i| {
                exp.iter().enumerate().map(|(k, e)| e / sum * f64::from(qkv[at(2, s.start + k, i)])).sum()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_its_definition(
            lengths in prop::collection::vec((0usize..90, 0usize..3), 1..5), heads in 1usize..4, d in 1usize..40, seed in 0u32..1000
        ) {
            let mut ragged = Ragged::default();
            for &(rows, hidden) in &lengths {
                ragged.push(rows, rows.saturating_sub(hidden));
            }
            let total = ragged.total();
            let qkv: Vec<f32> = (0..total * 3 * heads * d).map(|i| ((i as f32 + seed as f32) * 0.8113).sin() * 2.0).collect();
            let fused = Tensor::from_slice(&qkv, &[total, 3, heads, d]).unwrap();
            let part = |i| fused.select(1, i).unwrap();
            let scale = 1.0 / (d as f32).sqrt();
            let attended = Attention {
                query: &part(0), key: &part(1), value: &part(2), ragged: &ragged, scale, probabilities: true,
            }.run().unwrap();
            let context = attended.context.as_slice::<f32>().unwrap();
            let probabilities = attended.probabilities.unwrap();
            for (s, p) in ragged.sequences().iter().zip(&probabilities) {
                prop_assert_eq!(p.shape(), [heads, s.rows, s.keys]);
                for sums in p.as_slice::<f32>().unwrap().chunks_exact(s.keys.max(1)) {
                    prop_assert!((sums.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                }
                for row in s.start..s.start + s.rows {
                    for head in 0..heads {
                        let at = |which: usize, row: usize, i: usize| ((row * 3 + which) * heads + head) * d + i;
                        let want = if s.keys == 0 { vec![0.0; d] } else { reference(&qkv, at, *s, row, f64::from(scale), d) };
                        for i in 0..d {
                            let got = f64::from(context[(row * heads + head) * d + i]);
                            prop_assert!((got - want[i]).abs() < 1e-4, "{} != {}", got, want[i]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn gradients() {
        let mut ragged = Ragged::default();
        for (rows, keys) in [(3, 3), (2, 1), (2, 0), (0, 0)] {
            ragged.push(rows, keys);
        }
        let attend = |x: &[Tensor], probabilities| {
            let (query, key, value) = (&x[0], &x[1], &x[2]);
            Attention { query, key, value, ragged: &ragged, scale: 0.7, probabilities }.run()
        };
        let shape: &[usize] = &[7, 2, 3];
        check_gradient(
            "attention",
            &[shape, shape, shape],
            (-1.0, 1.0),
            1,
            |x| Ok(attend(x, false)?.context),
        );
        let inputs: Vec<Tensor> =
            (0..3).map(|i| draw(shape, (-1.0, 1.0), i).to_dtype(DType::F32).unwrap()).collect();
        same_gradients(
            "attention",
            &inputs,
            1e-5,
            |x| Ok(attend(x, false)?.context),
            |x| Ok(attend(x, true)?.context),
        );
        same_gradients(
            "attention",
            &inputs[..2],
            1e-5,
            |x| {
                attend(&[x[0].clone(), x[1].clone(), x[0].clone()], true)?
                    .probabilities
                    .unwrap()
                    .swap_remove(0)
                    .square()
            },
            |x| {
                let part = |x: &Tensor| x.narrow(0, 0, 3)?.transpose(0, 1);
                part(&x[0])?.matmul(&part(&x[1])?.mt()?)?.mul(0.7f32)?.softmax(-1)?.square()
            },
        );
    }
}
