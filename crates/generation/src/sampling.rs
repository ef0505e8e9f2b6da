//! Drawing tokens: the same from a seed, whatever the number of threads.

use trustformers_tensor::{DType, Generator};

use crate::Result;
use crate::error::Error;
use crate::scores::softmax;

/// Draws a token from the distribution that scores stand for.
///
/// # Errors
/// `Runtime` when they stand for none: NaN or +∞ among them, or nothing but -∞.
pub(crate) fn draw(scores: &[f32], generator: &Generator) -> Result<usize> {
    Ok(draw_several(scores, 1, generator)?[0])
}

/// Draws `count` different tokens, one after another. Where fewer have a probability, those without follow in order.
///
/// # Errors
/// As [`draw`].
pub(crate) fn draw_several(scores: &[f32], count: usize, generator: &Generator) -> Result<Vec<usize>> {
    let mut probabilities = expect_distribution(softmax(scores))?;
    let uniform = generator.uniform(&[count], DType::F64)?;
    let mut drawn = Vec::with_capacity(count);
    for &number in uniform.as_slice::<f64>()? {
        let chosen = match pick(&probabilities, number) {
            Some(chosen) => chosen,
            None => match (0..scores.len()).find(|token| !drawn.contains(token)) {
                Some(next) => next,
                None => break,
            },
        };
        probabilities[chosen] = 0.0;
        drawn.push(chosen);
    }
    Ok(drawn)
}

/// The place at which so much of the whole lies before; `None` if there is nothing.
pub(crate) fn pick(weights: &[f32], share: f64) -> Option<usize> {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let mut left = share * total;
    let mut last = None;
    for (place, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = Some(place);
        left -= f64::from(weight);
        if left < 0.0 {
            break;
        }
    }
    last
}

fn expect_distribution(probabilities: Vec<f32>) -> Result<Vec<f32>> {
    match probabilities.iter().all(|one| one.is_finite()) {
        true => Ok(probabilities),
        false => no_distribution(),
    }
}

/// The error of scores that nothing can be drawn from.
pub(crate) fn no_distribution<T>() -> Result<T> {
    Err(Error::Runtime(
        "the scores of the next token are no distribution: they hold `inf` or `nan`, or nothing but `-inf`. \
         remove_invalid_values=True replaces such values"
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_as_often_as_they_should() {
        let generator = Generator::new(1);
        let scores = [0.0, f32::NEG_INFINITY, 2f32.ln(), 0.0];
        let mut counts = [0; 4];
        (0..4000).for_each(|_| counts[draw(&scores, &generator).unwrap()] += 1);
        assert_eq!(counts[1], 0);
        assert!((1850..2150).contains(&counts[2]), "{counts:?}");
    }

    #[test]
    fn several_are_all_different() {
        let generator = Generator::new(2);
        let mut drawn = draw_several(&[0.0, 9.0, f32::NEG_INFINITY], 3, &generator).unwrap();
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 1, 2]);
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        let generator = Generator::new(3);
        for scores in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert!(draw(&scores, &generator).is_err(), "{scores:?}");
        }
    }
}
