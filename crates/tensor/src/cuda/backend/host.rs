//! What has no kernel is done by the processor, there and back: it is right, and slow where it is done often.

use super::Gpu;
use crate::cpu::Cpu;
use crate::ops::Angles;
use crate::{Backend, Result, Tensor};

/// Rotary embeddings in doubles.
pub(super) fn rope(out: &Tensor, x: &Tensor, angles: Angles) -> Result<()> {
    let turned = Gpu::to_host(x)?.copy()?;
    let (cos, sin) = (Gpu::to_host(angles.cos)?, Gpu::to_host(angles.sin)?);
    Cpu.rope(&turned, &turned, Angles { cos: &cos, sin: &sin, ..angles })?;
    out.backend().assign(out, &turned.to_device(out.device())?)
}
