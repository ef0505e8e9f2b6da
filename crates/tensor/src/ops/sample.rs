//! Tokens drawn from logits.

use super::{Generator, expect_real};
use crate::{DType, Error, Result, Tensor};

/// What is left of a distribution before a token is drawn from it, in this order. Tokens as likely as the last that is kept are kept, too, and
/// the most likely one always is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by.
    pub temperature: f32,
    /// How many of the likeliest tokens are kept; 0 for all.
    pub top_k: usize,
    /// Of the likeliest tokens as few as together have this share of the probability.
    pub top_p: f32,
    /// Tokens that are at least this share as likely as the likeliest.
    pub min_p: f32,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0 }
    }
}

impl Tensor {
    /// For each row of logits (rows, tokens) a token, drawn from what `sampling` leaves of the distribution that they stand for; -1 where they
    /// stand for none: NaN or +∞ among them, or nothing but -∞. Each row takes one block of the generator's stream. What is less likely than
    /// 2⁻³² of the likeliest is not drawn. int64.
    ///
    /// # Errors
    /// `Argument` for what is no matrix, for no tokens, and for settings that cannot be; `DType` for complex numbers.
    pub fn sample(&self, sampling: &Sampling, generator: &Generator) -> Result<Tensor> {
        expect_real("sample", &[self])?;
        let &[rows, width] = self.shape() else {
            return Err(Error::argument(
                "sample",
                format!("logits are (rows, tokens), got shape {:?}", self.shape()),
            ));
        };
        let Sampling { temperature, top_p, min_p, .. } = *sampling;
        let is_share = |share: f32| (0.0..=1.0).contains(&share);
        if width == 0 || i32::try_from(width).is_err() || temperature.is_nan() || temperature <= 0.0 {
            let message = format!(
                "a token is drawn from some, at a temperature above 0: got {width} tokens and {temperature}"
            );
            return Err(Error::argument("sample", message));
        }
        if !is_share(top_p) || !is_share(min_p) {
            let message = format!("top_p and min_p are shares from 0 to 1, got {top_p} and {min_p}");
            return Err(Error::argument("sample", message));
        }
        let logits = self.detach().to_dtype(DType::F32)?.contiguous()?;
        logits.backend().sample(&logits, sampling, generator.stream(rows as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(logits: &[f32], sampling: Sampling, count: usize) -> Vec<usize> {
        let x =
            Tensor::from_slice(logits, &[1, logits.len()]).unwrap().expand(&[count, logits.len()]).unwrap();
        let tokens = x.sample(&sampling, &Generator::new(3)).unwrap();
        let mut counts = vec![0; logits.len()];
        tokens.as_slice::<i64>().unwrap().iter().for_each(|&token| counts[token as usize] += 1);
        counts
    }

    #[test]
    fn tokens_come_as_often_as_they_should() {
        let logits = [0.0, f32::NEG_INFINITY, 2f32.ln(), 0.0];
        let near = |got: usize, want: usize| assert!(got.abs_diff(want) < 150, "{got}, not {want}");
        let counts = drawn(&logits, Sampling::default(), 4000);
        [1000, 0, 2000, 1000].into_iter().zip(&counts).for_each(|(want, &got)| near(got, want));
        let counts = drawn(&logits, Sampling { temperature: 0.5, ..Sampling::default() }, 4200);
        [700, 0, 2800, 700].into_iter().zip(&counts).for_each(|(want, &got)| near(got, want));
    }

    #[test]
    fn what_is_unlikely_is_left_out() {
        // Shares of 1/2, 1/4, 1/8, 1/16 and twice 1/32.
        let logits = [4f32, 8.0, 32.0, 16.0, 2.0, 2.0].map(f32::ln);
        let kept = |sampling| {
            let counts = drawn(&logits, sampling, 2000);
            (0..6).filter(|&token| counts[token] > 0).collect::<Vec<_>>()
        };
        let all = Sampling::default();
        assert_eq!(kept(all), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(Sampling { top_k: 2, ..all }), [2, 3]);
        // Both of the equal ones.
        assert_eq!(kept(Sampling { top_k: 5, ..all }), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(Sampling { top_k: 9, ..all }), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(Sampling { top_p: 0.7, ..all }), [2, 3]);
        assert_eq!(kept(Sampling { top_p: 0.8, ..all }), [1, 2, 3]);
        assert_eq!(kept(Sampling { top_p: 0.0, ..all }), [2]);
        // Of two there are two thirds and one third.
        assert_eq!(kept(Sampling { top_k: 2, top_p: 0.6, ..all }), [2]);
        assert_eq!(kept(Sampling { min_p: 0.2, ..all }), [1, 2, 3]);
        assert_eq!(kept(Sampling { min_p: 1.0, ..all }), [2]);
    }

    #[test]
    fn what_is_no_distribution_gives_no_token() {
        let rows = [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2], [f32::NEG_INFINITY, 3.0]];
        let x = Tensor::from_slice(rows.as_flattened(), &[4, 2]).unwrap();
        let tokens = x.sample(&Sampling::default(), &Generator::new(1)).unwrap();
        assert_eq!(tokens.as_slice::<i64>().unwrap(), [-1, -1, -1, 1]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let x = Tensor::zeros(&[2, 3]).unwrap();
        let refused = |sampling: Sampling| x.sample(&sampling, &Generator::new(1)).is_err();
        let all = Sampling::default();
        assert!(
            refused(Sampling { temperature: 0.0, ..all })
                && refused(Sampling { temperature: f32::NAN, ..all })
        );
        assert!(refused(Sampling { top_p: 1.5, ..all }) && refused(Sampling { min_p: f32::NAN, ..all }));
        assert!(Tensor::zeros(&[3]).unwrap().sample(&all, &Generator::new(1)).is_err());
        assert!(Tensor::zeros(&[3, 0]).unwrap().sample(&all, &Generator::new(1)).is_err());
        assert_eq!(Tensor::zeros(&[0, 3]).unwrap().sample(&all, &Generator::new(1)).unwrap().shape(), [0]);
    }
}
