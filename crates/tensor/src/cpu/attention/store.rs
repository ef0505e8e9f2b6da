//! Keys and values as they are kept for later rows: floats of 32 or 16 bits, or 8 bits with a scale for each head of a row.

use half::f16;

use crate::cpu::float16;
use crate::cpu::scratch;
use crate::quant::{encoder, widen};
use crate::{BlockFormat, DType, Result, Tensor};

/// Bytes in front of a head of 8 bits: its scale.
const SCALE: usize = BlockFormat::Int8.row_header();

/// The greatest float16. What is greater still is kept as this, and not as an infinity.
const MOST: f32 = 65504.0;

/// See [`crate::Backend::store_rows`].
pub(in crate::cpu) fn store_rows(store: &Tensor, x: &Tensor, places: &[[usize; 2]]) -> Result<()> {
    match store.dtype() {
        DType::F16 => scratch::with(|scratch| {
            let [near] = scratch.parts([x.shape()[2]]);
            // SAFETY: so long is the part, and nobody else has it.
            let near = unsafe { std::slice::from_raw_parts_mut(near, x.shape()[2]) };
            write(store, x, places, |from, to| {
                near.iter_mut().zip(from).for_each(|(near, from)| *near = from.clamp(-MOST, MOST));
                float16::narrow(near, to);
            });
        }),
        DType::U8 => write(store, x, places, encoder(BlockFormat::Int8)?),
        _ => write(store, x, places, |from, to: &mut [f32]| to.copy_from_slice(from)),
    }
    Ok(())
}

/// Writes the heads of some rows, each by `write_head`.
fn write<T>(store: &Tensor, x: &Tensor, places: &[[usize; 2]], mut write_head: impl FnMut(&[f32], &mut [T])) {
    let &[_, heads, width] = store.shape() else { return };
    let (strides, head_dim) = (x.layout().strides(), x.shape()[2]);
    for &[from, to] in places {
        for head in 0..heads {
            let from = from as isize * strides[0] + head as isize * strides[1];
            // SAFETY: both rows are there, as the operation has checked, with neighbouring elements; nobody else writes to the store.
            unsafe {
                let from = x.as_ptr().cast::<f32>().offset(from);
                let to = store.as_ptr().cast_mut().cast::<T>().add((to * heads + head) * width);
                write_head(
                    std::slice::from_raw_parts(from, head_dim),
                    std::slice::from_raw_parts_mut(to, width),
                );
            }
        }
    }
}

/// Keys or values as a kernel sees them: (rows, heads, dim).
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) form: Form,
    data: *const u8,
    /// In bytes.
    strides: [isize; 3],
    /// The elements of a head.
    pub(super) dim: usize,
}

/// How their elements are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    F32,
    F16,
    Int8,
}

// SAFETY: only read, while the tensor lives.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Kept {
    pub(super) fn of(tensor: &Tensor) -> Kept {
        let width = tensor.shape()[2];
        let (form, dim) = match tensor.dtype() {
            DType::F16 => (Form::F16, width),
            DType::U8 => (Form::Int8, width.saturating_sub(SCALE)),
            _ => (Form::F32, width),
        };
        let strides = tensor.layout().strides();
        let bytes = |axis: usize| strides[axis] * tensor.dtype().size() as isize;
        Kept { form, data: tensor.as_ptr(), strides: [bytes(0), bytes(1), bytes(2)], dim }
    }

    /// Where a head of a row begins.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, head: usize) -> *const u8 {
        self.data.wrapping_offset(row as isize * self.strides[0] + head as isize * self.strides[1])
    }

    /// Whether the elements of a head are neighbours.
    pub(super) fn is_near(&self) -> bool {
        self.form != Form::F32 || self.strides[2] == size_of::<f32>() as isize
    }

    /// The bytes of a head.
    #[inline(always)]
    pub(super) fn head_bytes(&self) -> usize {
        match self.form {
            Form::F32 => self.dim * size_of::<f32>(),
            Form::F16 => self.dim * size_of::<f16>(),
            Form::Int8 => SCALE + self.dim,
        }
    }

    /// From one row to the next, in bytes.
    #[inline(always)]
    pub(super) fn row_stride(&self) -> isize {
        self.strides[0]
    }

    /// From the first to the last byte of a row of so many heads.
    #[inline(always)]
    pub(super) fn row_bytes(&self, heads: usize) -> usize {
        (heads - 1) * self.strides[1].unsigned_abs() + self.head_bytes()
    }

    /// How far apart rows and elements of float32 lie, in elements.
    pub(super) fn float_strides(&self) -> [isize; 2] {
        [self.strides[0], self.strides[2]].map(|stride| stride / size_of::<f32>() as isize)
    }

    /// A head of a row as float32, in `to`. Compiled for the vectors of whom it is inlined into.
    ///
    /// # Safety
    /// The row must be there, of 16 or 8 bits, and `to` have room for a head.
    #[inline(always)]
    pub(super) unsafe fn widen(&self, row: usize, head: usize, to: *mut f32) {
        let from = self.at(row, head);
        // SAFETY: as the caller promises.
        unsafe {
            if self.form == Form::F16 {
                let from = from.cast::<u16>();
                (0..self.dim).for_each(
                    #[inline(always)]
                    |i| *to.add(i) = widen(from.add(i).read_unaligned()),
                );
            } else {
                let (scale, codes) = (from.cast::<f32>().read_unaligned(), from.add(SCALE).cast::<i8>());
                (0..self.dim).for_each(
                    #[inline(always)]
                    |i| *to.add(i) = scale * f32::from(*codes.add(i)),
                );
            }
        }
    }
}
