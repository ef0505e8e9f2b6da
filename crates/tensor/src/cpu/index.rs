//! Blocks of neighbouring elements taken from, or put to, given places.

use std::mem::MaybeUninit;

use super::elementwise::{CHUNK, Scratch};
use super::number::{Number, by_class};
use super::reader::Reader;
use super::rows::for_each_run;
use crate::{DType, Result, Tensor};

/// The first element of a tensor, to be stepped from.
#[derive(Clone, Copy)]
struct First(*mut u8);
// SAFETY: only read by threads, and only while the tensor is borrowed.
unsafe impl Sync for First {}
// SAFETY: as above.
unsafe impl Send for First {}

impl First {
    fn at(self, offset: i64, size: usize) -> *mut u8 {
        self.0.wrapping_offset(offset as isize * size as isize)
    }
}

/// See [`crate::Backend::take`].
pub(super) fn take(x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
    match x.dtype().size() {
        1 => blocks::<u8>(x, offsets, block, shape),
        2 => blocks::<u16>(x, offsets, block, shape),
        4 => blocks::<u32>(x, offsets, block, shape),
        8 => blocks::<[u32; 2]>(x, offsets, block, shape),
        _ => blocks::<[u64; 2]>(x, offsets, block, shape),
    }
}

fn blocks<T: Copy + Send>(x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
    let offsets: &[i64] = offsets.as_slice()?;
    let first = First(x.as_ptr().cast_mut());
    Tensor::build_as(shape, x.dtype(), |out: &mut [MaybeUninit<T>]| {
        for_each_run(out, block, |from, run| {
            for (to, &offset) in run.chunks_exact_mut(block).zip(&offsets[from..]) {
                let source = first.at(offset, size_of::<T>()).cast::<MaybeUninit<T>>();
                // SAFETY: positions were checked against the shape when the offsets were made, blocks are of neighbouring elements,
                // and all elements of a tensor lie within its storage. The result is memory of its own.
                unsafe { source.copy_to_nonoverlapping(to.as_mut_ptr(), block) };
            }
        })
    })
}

/// See [`crate::Backend::put`].
pub(super) fn put(
    out: &Tensor,
    offsets: &Tensor,
    block: usize,
    values: &Tensor,
    accumulate: bool,
) -> Result<()> {
    if values.numel() == 0 {
        return Ok(());
    }
    if accumulate {
        return by_class!(out.dtype(), C => add::<C>(out, offsets, block, values));
    }
    let size = out.dtype().size();
    let (target, source) = (First(out.as_ptr().cast_mut()), values.as_ptr());
    for (i, &offset) in offsets.as_slice::<i64>()?.iter().enumerate() {
        // SAFETY: as in `take`, the other way round; `values` is contiguous with one block for each offset, in other memory.
        unsafe { source.add(i * block * size).copy_to_nonoverlapping(target.at(offset, size), block * size) };
    }
    Ok(())
}

/// Adds block by block, in order: places may repeat.
fn add<C: Number + Plus>(out: &Tensor, offsets: &Tensor, block: usize, values: &Tensor) -> Result<()> {
    let (load, store, size) = (C::load(out.dtype())?, C::store(out.dtype())?, out.dtype().size());
    let first = First(out.as_ptr().cast_mut());
    let mut scratch = Scratch::new();
    let mut values = Reader::<C>::new(values, &mut scratch)?;
    let mut sums = [const { MaybeUninit::uninit() }; CHUNK];
    for (i, &offset) in offsets.as_slice::<i64>()?.iter().enumerate() {
        for start in (0..block).step_by(CHUNK) {
            let len = CHUNK.min(block - start);
            let address = first.at(offset + start as i64, size);
            // SAFETY: as in `take`; the elements are written one after another by this thread alone.
            let sums = unsafe {
                load(address, size as isize, &mut sums[..len]);
                sums[..len].assume_init_mut()
            };
            for (sum, &value) in sums.iter_mut().zip(values.read(i * block + start, len)) {
                *sum = sum.plus(value);
            }
            // SAFETY: as above.
            unsafe { store(sums, address, size as isize) };
        }
    }
    Ok(())
}

/// Addition that wraps for integers.
trait Plus: Copy {
    fn plus(self, other: Self) -> Self;
}
macro_rules! plus {
    ($($type:ty: $plus:expr;)*) => {$(
        impl Plus for $type {
            fn plus(self, other: Self) -> Self { $plus(self, other) }
        }
    )*};
}
plus! { f32: |a, b| a + b; f64: |a, b| a + b; i64: i64::wrapping_add; u64: u64::wrapping_add; }

/// See [`crate::Backend::nonzero`].
pub(super) fn nonzero(x: &Tensor) -> Result<Tensor> {
    let mut scratch = Scratch::new();
    let mut reader = Reader::<u8>::new(x, &mut scratch)?;
    let mut found = Vec::new();
    for start in (0..x.numel()).step_by(CHUNK) {
        let chunk = reader.read(start, CHUNK.min(x.numel() - start));
        found.extend(chunk.iter().enumerate().filter(|&(_, &x)| x != 0).map(|(i, _)| start + i));
    }
    let ndim = x.ndim();
    Tensor::build_as(&[found.len(), ndim], DType::I64, |out: &mut [MaybeUninit<i64>]| {
        for (row, mut rest) in out.chunks_exact_mut(ndim.max(1)).zip(found) {
            for (to, &size) in row.iter_mut().zip(x.shape()).rev() {
                to.write((rest % size) as i64);
                rest /= size;
            }
        }
        Ok(())
    })
}
