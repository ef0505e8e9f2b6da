//! The scores of the next token.

use trustformers_tensor::{DType, Tensor};

use crate::Result;

/// A row of scores for each sequence, as long as the vocabulary: float32 logits, or their logarithms of probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    values: Vec<f32>,
    vocabulary: usize,
}

impl Scores {
    /// The scores in a (rows, vocabulary) tensor of floats.
    ///
    /// # Errors
    /// What the tensor says when it is no matrix of floats.
    pub fn new(scores: &Tensor) -> Result<Scores> {
        let scores = scores.to_dtype(DType::F32)?.contiguous()?.to_host()?;
        let vocabulary = scores.shape().last().copied().unwrap_or(1).max(1);
        Ok(Scores { values: scores.as_slice::<f32>()?.to_vec(), vocabulary })
    }

    /// As a (rows, vocabulary) tensor.
    pub fn to_tensor(&self) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.values, &[self.values.len() / self.vocabulary, self.vocabulary])?)
    }

    /// The number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.vocabulary)
    }

    /// The rows, to be changed.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.vocabulary)
    }
}

/// The probabilities that scores stand for. What is -∞ costs nothing.
pub(crate) fn softmax(scores: &[f32]) -> Vec<f32> {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |&score: &f32| if score == f32::NEG_INFINITY { 0.0 } else { (score - highest).exp() };
    let mut probabilities: Vec<f32> = scores.iter().map(exp).collect();
    let sum: f64 = probabilities.iter().map(|&one| f64::from(one)).sum();
    let scale = sum.recip() as f32;
    probabilities.iter_mut().for_each(|one| *one *= scale);
    probabilities
}

/// Turns scores into the logarithms of the probabilities that they stand for.
pub(crate) fn log_softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp =
        |&score: &f32| if score == f32::NEG_INFINITY { 0.0 } else { f64::from((score - highest).exp()) };
    let log = scores.iter().map(exp).sum::<f64>().ln() as f32;
    scores.iter_mut().for_each(|score| *score = (*score - highest) - log);
}

/// The place of the highest score, the first of equal ones; NaN counts as the highest, as in torch.
pub(crate) fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (place, &score) in scores.iter().enumerate() {
        if scores[best].is_nan() {
            break;
        }
        if score > scores[best] || score.is_nan() {
            best = place;
        }
    }
    best
}

/// The places of the `count` highest scores, highest first, the first of equal ones before the others.
pub(crate) fn top(scores: &[f32], count: usize) -> Vec<usize> {
    let count = count.min(scores.len());
    let order = |&a: &usize, &b: &usize| scores[b].total_cmp(&scores[a]).then(a.cmp(&b));
    let mut places: Vec<usize> = (0..scores.len()).collect();
    if count == 0 {
        return Vec::new();
    }
    if count < places.len() {
        places.select_nth_unstable_by(count - 1, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up() {
        let scores = [1.0, f32::NEG_INFINITY, 3.0, 2.0];
        let probabilities = softmax(&scores);
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(probabilities[1], 0.0);
        let mut logs = scores;
        log_softmax(&mut logs);
        for (log, probability) in logs.iter().zip(&probabilities) {
            assert!((log.exp() - probability).abs() < 1e-6);
        }
    }

    #[test]
    fn the_first_of_equal_ones_is_taken() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0, f32::NEG_INFINITY]), 1);
        assert_eq!(argmax(&[1.0, f32::NAN, 3.0]), 1);
        assert_eq!(argmax(&[f32::NEG_INFINITY; 2]), 0);
        // Wherever they stand among many.
        for place in 0..200 {
            let mut many = [0.0; 200];
            [many[0], many[place], many[199]] = [0.5, 1.0, 1.0];
            assert_eq!(argmax(&many), place);
            [many[place], many[199]] = [f32::NAN, f32::NAN];
            assert_eq!(argmax(&many), place);
        }
        assert_eq!(top(&[1.0, 3.0, 3.0, 2.0], 3), [1, 2, 3]);
        assert_eq!(top(&[1.0], 5), [0]);
        assert_eq!(top(&[1.0], 0), [0usize; 0]);
    }
}
