//! ALiBi (Press et al. 2022): scores that fall with the distance.

use trustformers_tensor::Tensor;

use crate::Result;
use crate::packing::room;

/// The slopes of ALiBi (heads, 1, 1): transformers' `build_alibi_tensor`.
pub fn slopes(heads: usize) -> Result<Tensor> {
    let power = if heads.is_power_of_two() { heads } else { heads.next_power_of_two() / 2 };
    let base = 2f64.powf(-8.0 / power as f64);
    let extra = 2f64.powf(-4.0 / power as f64);
    let slope = |head: usize| match head < power {
        true => base.powi(head as i32 + 1),
        // The heads beyond a power of two take every other slope of twice as many.
        false => extra.powi(2 * (head - power) as i32 + 1),
    };
    let mut slopes = room(&[heads])?;
    slopes.extend((0..heads).map(|head| slope(head) as f32));
    Ok(Tensor::from_slice(&slopes, &[heads, 1, 1])?)
}
