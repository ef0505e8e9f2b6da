//! AdamW whose running means are kept in 8 bits (Dettmers et al. 2022): a number of [`BLOCK`] neighbours is one of 256 fractions of their
//! largest.

use std::sync::LazyLock;

use trustformers_tensor::ops::{self, Update};
use trustformers_tensor::{DType, Tensor};

use crate::Result;
use crate::method::Adam;
use crate::optimizer::State;

/// How many elements share a scale.
const BLOCK: usize = 256;
/// Parameters with fewer elements keep their means as they are: there is nothing to gain.
const SMALL: usize = 4096;

/// Fractions of both signs, dense near zero: seven decades, the larger ones divided more finely.
static SIGNED: LazyLock<Vec<f32>> = LazyLock::new(|| fractions(true));
/// Fractions that are not negative.
static UNSIGNED: LazyLock<Vec<f32>> = LazyLock::new(|| fractions(false));

/// The 256 values of the dynamic tree of section 1.3 of the paper, ascending: bitsandbytes' `create_dynamic_map`.
fn fractions(signed: bool) -> Vec<f32> {
    let mut values = vec![0.0, 1.0];
    for decade in 0..7 {
        let count = 1 << (decade + usize::from(!signed));
        let steps = count as f64;
        for i in 0..count {
            let (low, high) = (0.1 + 0.9 * i as f64 / steps, 0.1 + 0.9 * (i + 1) as f64 / steps);
            let value = (low + high) / 2.0 * 10f64.powi(decade as i32 - 6);
            values.push(value as f32);
            if signed {
                values.push(-value as f32);
            }
        }
    }
    values.sort_by(f32::total_cmp);
    values
}

/// Changes a parameter by its gradient.
pub(crate) fn step(adam: &Adam, parameter: &Tensor, grad: &Tensor, state: &mut State) -> Result<()> {
    let Adam { lr, betas, eps, weight_decay } = *adam;
    let update = Update::Adam { lr, betas, eps, weight_decay, decoupled: true, step: state.step };
    if parameter.numel() < SMALL {
        let mean = state.tensor("exp_avg", || parameter.zeros_like())?;
        let square = state.tensor("exp_avg_sq", || parameter.zeros_like())?;
        return Ok(ops::update(&update, parameter, grad, &[&mean, &square])?);
    }
    let mean = Kept::open(state, parameter, ["state1", "absmax1"], &SIGNED)?;
    let square = Kept::open(state, parameter, ["state2", "absmax2"], &UNSIGNED)?;
    let (means, squares) = (mean.numbers(parameter.shape())?, square.numbers(parameter.shape())?);
    ops::update(&update, parameter, grad, &[&means, &squares])?;
    mean.keep(&means)?;
    square.keep(&squares)
}

/// A running mean in 8 bits: a code for each element, and a scale for each block.
struct Kept {
    codes: Tensor,
    scales: Tensor,
    fractions: &'static [f32],
}

impl Kept {
    fn open(
        state: &mut State,
        parameter: &Tensor,
        names: [&str; 2],
        fractions: &'static [f32],
    ) -> Result<Kept> {
        let count = parameter.numel();
        let codes = state.tensor(names[0], || Tensor::zeros_of(&[count], DType::U8))?;
        let scales = state.tensor(names[1], || Tensor::zeros_of(&[count.div_ceil(BLOCK)], DType::F32))?;
        Ok(Kept { codes, scales, fractions })
    }

    /// The numbers, float32 in a shape.
    fn numbers(&self, shape: &[usize]) -> Result<Tensor> {
        let (codes, scales) = (self.codes.as_slice::<u8>()?, self.scales.as_slice::<f32>()?);
        let numbers: Vec<f32> = codes
            .chunks(BLOCK)
            .zip(scales)
            .flat_map(|(codes, scale)| {
                codes
                    .iter()
                    .map(move |&code| self.fractions.get(code as usize).copied().unwrap_or_default() * scale)
            })
            .collect();
        Ok(Tensor::from_slice(&numbers, shape)?)
    }

    /// Takes up other numbers.
    fn keep(&self, numbers: &Tensor) -> Result<()> {
        let numbers = numbers.as_slice::<f32>()?;
        let mut codes = Vec::with_capacity(numbers.len());
        let mut scales = Vec::with_capacity(numbers.len().div_ceil(BLOCK));
        for block in numbers.chunks(BLOCK) {
            let scale = block.iter().fold(0f32, |most, x| most.max(x.abs()));
            scales.push(scale);
            let inverse = if scale == 0.0 { 0.0 } else { scale.recip() };
            codes.extend(block.iter().map(|x| nearest(self.fractions, x * inverse)));
        }
        self.codes.become_(&Tensor::from_slice(&codes, self.codes.shape())?)?;
        Ok(self.scales.become_(&Tensor::from_slice(&scales, self.scales.shape())?)?)
    }
}

/// The place of the value that is nearest to `x` among ascending ones.
fn nearest(values: &[f32], x: f32) -> u8 {
    let above = values.partition_point(|value| *value < x).min(values.len() - 1);
    let below = above.saturating_sub(1);
    (if x - values[below] < values[above] - x { below } else { above }) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_256_fractions_and_the_nearest_is_found() {
        for values in [&*SIGNED, &*UNSIGNED] {
            assert_eq!(values.len(), 256);
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
            for (place, value) in values.iter().enumerate() {
                assert_eq!(nearest(values, *value), place as u8);
            }
            assert_eq!(nearest(values, 2.0), 255);
            assert_eq!(nearest(values, -2.0), 0);
        }
    }

    #[test]
    fn it_keeps_close_to_adamw() {
        let adam = Adam { lr: 0.01, ..Adam::default() };
        let values: Vec<f32> = (0..8192).map(|i| (i as f32 * 0.7).sin()).collect();
        let [coarse, fine] = [(); 2].map(|()| Tensor::from_slice(&values, &[64, 128]).unwrap());
        let (mut state, mean) = (State::default(), fine.zeros_like().unwrap());
        let square = fine.zeros_like().unwrap();
        for at in 1..=20u64 {
            let grad: Vec<f32> = (0..8192).map(|i| ((i as u64 * at) as f32 * 0.3).cos()).collect();
            let grad = Tensor::from_slice(&grad, &[64, 128]).unwrap();
            state.step = at;
            step(&adam, &coarse, &grad, &mut state).unwrap();
            let Adam { lr, betas, eps, weight_decay } = adam;
            let update = Update::Adam { lr, betas, eps, weight_decay, decoupled: true, step: at };
            ops::update(&update, &fine, &grad, &[&mean, &square]).unwrap();
        }
        assert_eq!(state.tensors["state1"].dtype(), DType::U8);
        let off = coarse.sub(&fine).unwrap().abs().unwrap().mean(&[], false).unwrap();
        let moved = fine.sub(&Tensor::from_slice(&values, &[64, 128]).unwrap()).unwrap().abs().unwrap();
        let moved = moved.mean(&[], false).unwrap().item().unwrap().to_f64();
        let off = off.item().unwrap().to_f64();
        assert!(off < 0.1 * moved, "{off} of {moved}");
    }
}
