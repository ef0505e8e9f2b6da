//! What has no kernel is done by the processor, there and back: it is right, and slow where it is done often.

use super::Gpu;
use crate::cpu::Cpu;
use crate::ops::{Change, Distribution, Kept, ReduceOp};
use crate::{Backend, DType, Error, Result, Tensor, cuda};

pub(super) fn scan(gpu: &Gpu, op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
    Cpu.scan(op, &Gpu::to_host(x)?, dtype)?.to_device(gpu.device())
}

pub(super) fn order(gpu: &Gpu, x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
    Cpu.order(&Gpu::to_host(x)?, count, descending)?.to_device(gpu.device())
}

pub(super) fn nonzero(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    Cpu.nonzero(&Gpu::to_host(x)?)?.to_device(gpu.device())
}

/// Products of integers, which matrix units do not have in this way.
pub(super) fn matmul(gpu: &Gpu, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Cpu.matmul(&Gpu::to_host(a)?, &Gpu::to_host(b)?)?.to_device(gpu.device())
}

pub(super) fn random(
    gpu: &Gpu,
    distribution: Distribution,
    stream: (u64, u64),
    shape: &[usize],
    dtype: DType,
) -> Result<Tensor> {
    Cpu.random(distribution, stream, shape, dtype)?.to_device(gpu.device())
}

/// Rotary embeddings in doubles.
pub(super) fn rope(out: &Tensor, x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<()> {
    let turned = Gpu::to_host(x)?.copy()?;
    Cpu.rope(&turned, &turned, &Gpu::to_host(cos)?, &Gpu::to_host(sin)?, interleaved)?;
    out.backend().assign(out, &turned.to_device(out.device())?)
}

/// Sums of elements whose type has no atomic sum.
pub(super) fn put_add(out: &Tensor, offsets: &Tensor, block: usize, values: &Tensor) -> Result<()> {
    // The places are counted from the first element of a view: the whole of what it may reach is fetched.
    let whole = out.base().unwrap_or(out);
    if !whole.is_contiguous() {
        let message = format!("{} are not added to a tensor with gaps on {}", out.dtype(), out.device());
        return Err(Error::argument("index_put", message));
    }
    let fetched = Gpu::to_host(whole)?.copy()?;
    let layout = out.layout();
    let view = Tensor::over(fetched.storage().clone(), layout.clone(), out.dtype());
    Cpu.put(&view, &Gpu::to_host(offsets)?, block, &Gpu::to_host(values)?, true)?;
    cuda::carry(whole, &fetched)
}

/// The step of a parameter whose states are kept in 8 bits.
pub(super) fn update(change: &Change) -> Result<()> {
    let mut brought = vec![(change.parameter, Gpu::to_host(change.parameter)?)];
    let mut bring = |tensor| -> Result<usize> {
        brought.push((tensor, Gpu::to_host(tensor)?));
        Ok(brought.len() - 1)
    };
    let places = change
        .states
        .iter()
        .map(|state| match *state {
            Kept::Whole(tensor) => Ok((bring(tensor)?, None)),
            Kept::Coded { codes, scales, signed } => Ok((bring(codes)?, Some((bring(scales)?, signed)))),
        })
        .collect::<Result<Vec<_>>>()?;
    let states = places
        .into_iter()
        .map(|(first, coded)| match coded {
            None => Kept::Whole(&brought[first].1),
            Some((scales, signed)) => {
                Kept::Coded { codes: &brought[first].1, scales: &brought[scales].1, signed }
            }
        })
        .collect();
    let grad = Gpu::to_host(change.grad)?;
    Cpu.update(&[Change { update: change.update, parameter: &brought[0].1, grad: &grad, states }])?;
    brought.iter().try_for_each(|(there, here)| cuda::carry(there, here))
}
