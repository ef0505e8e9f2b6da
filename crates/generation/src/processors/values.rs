//! Every score alike.

use serde::Deserialize;

use super::{RowProcessor, Shape};
use crate::Result;
use crate::error::setting;
use crate::scores::log_softmax;

/// transformers' `TemperatureLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct Temperature {
    pub temperature: f64,
}

impl RowProcessor for Temperature {
    fn checked(self) -> Result<Temperature> {
        let temperature = self.temperature;
        if temperature > 0.0 {
            return Ok(self);
        }
        let greedy = match temperature == 0.0 {
            true => " If you're looking for greedy decoding strategies, set `do_sample=False`.",
            false => "",
        };
        setting(format!(
            "`temperature` (={temperature:?}) has to be a strictly positive float, otherwise your next token scores will be \
             invalid.{greedy}"
        ))
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let temperature = self.temperature as f32;
        scores.iter_mut().for_each(|score| *score /= temperature);
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        Some(Shape::Temperature(self.temperature as f32)).filter(|_| self.temperature as f32 > 0.0)
    }
}

/// transformers' `InfNanRemoveLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct InfNanRemove {}

impl RowProcessor for InfNanRemove {
    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        for score in scores {
            *score = if score.is_nan() { 0.0 } else { score.clamp(f32::MIN, f32::MAX) };
        }
        Ok(())
    }
}

/// transformers' `LogitNormalization`.
#[derive(Deserialize)]
pub(super) struct Normalization {}

impl RowProcessor for Normalization {
    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        log_softmax(scores);
        Ok(())
    }
}
