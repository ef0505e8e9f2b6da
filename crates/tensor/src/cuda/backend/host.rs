//! What has no kernel is done by the processor, there and back: it is right, and slow where it is done often.

use super::Gpu;
use crate::cpu::Cpu;
use crate::{Backend, Result, Tensor};

/// Rotary embeddings in doubles.
pub(super) fn rope(out: &Tensor, x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<()> {
    let turned = Gpu::to_host(x)?.copy()?;
    Cpu.rope(&turned, &turned, &Gpu::to_host(cos)?, &Gpu::to_host(sin)?, interleaved)?;
    out.backend().assign(out, &turned.to_device(out.device())?)
}
