//! The tensor: a layout over a storage.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::autograd::History;
use crate::layout::{bytes_of, checked_numel};
use crate::{Backend, Buffer, DType, Device, Element, Error, Layout, Result, Scalar, Storage, cuda};

/// An n-dimensional array over memory that it may share with NumPy, a mapped file or other tensors. Cloning shares, it never copies.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    /// What this is a view of; never itself a view.
    base: Option<Tensor>,
    history: History,
}

impl Tensor {
    /// A tensor over memory that exists.
    ///
    /// # Errors
    /// `Argument` when an element would lie outside the storage or off its alignment.
    pub fn from_storage(storage: Arc<Storage>, layout: Layout, dtype: DType) -> Result<Tensor> {
        checked_numel("from_storage", layout.shape(), dtype.size())?;
        let (mut first, mut last) = (layout.offset() as i128, layout.offset() as i128);
        for (&size, &stride) in layout.shape().iter().zip(layout.strides()) {
            let reach = size.saturating_sub(1) as i128 * stride as i128;
            if reach < 0 { first += reach } else { last += reach }
        }
        let fits = first >= 0 && (last + 1) * dtype.size() as i128 <= storage.len() as i128;
        if layout.numel() > 0 && !fits {
            return Err(Error::argument(
                "from_storage",
                format!(
                    "a {dtype} tensor of shape {:?} reaches beyond its {} bytes",
                    layout.shape(),
                    storage.len()
                ),
            ));
        }
        if layout.numel() > 0 && !storage.as_ptr().addr().is_multiple_of(dtype.align()) {
            return Err(Error::argument(
                "from_storage",
                format!("the memory is not aligned for {dtype}: copy it first"),
            ));
        }
        Ok(Tensor::over(storage, layout, dtype))
    }

    pub(crate) fn over(storage: Arc<Storage>, layout: Layout, dtype: DType) -> Tensor {
        Tensor(Arc::new(Inner { storage, layout, dtype, base: None, history: History::default() }))
    }

    /// A view of this tensor's memory, which must contain `layout`. Its history is still to be recorded.
    pub(crate) fn view_with(&self, layout: Layout) -> Tensor {
        let storage = self.storage().clone();
        let history = History::of_view(&storage);
        let base = Some(self.base().unwrap_or(self).clone());
        Tensor(Arc::new(Inner { storage, layout, dtype: self.dtype(), base, history }))
    }

    /// A new contiguous tensor that a kernel has yet to write, all of it.
    pub(crate) fn uninit(shape: &[usize], dtype: DType, device: Device) -> Result<Tensor> {
        let bytes = bytes_of(shape, dtype.size())?;
        let storage = match device {
            Device::Cpu => Storage::Cpu(Buffer::uninit(bytes)?),
            Device::Cuda(index) => Storage::Cuda(cuda::Memory::uninit(cuda::gpu(index)?, bytes)?),
        };
        Ok(Tensor::over(Arc::new(storage), Layout::contiguous(shape), dtype))
    }

    /// [`Tensor::uninit`] in memory for what is read again and again, see [`Buffer::lasting`].
    pub(crate) fn lasting(shape: &[usize], dtype: DType, device: Device) -> Result<Tensor> {
        match device {
            Device::Cpu => {
                let storage = Storage::Cpu(Buffer::lasting(bytes_of(shape, dtype.size())?)?);
                Ok(Tensor::over(Arc::new(storage), Layout::contiguous(shape), dtype))
            }
            Device::Cuda(_) => Tensor::uninit(shape, dtype, device),
        }
    }

    /// A new contiguous tensor whose elements `fill` writes, all of them.
    pub(crate) fn build<T: Element>(
        shape: &[usize],
        fill: impl FnOnce(&mut [MaybeUninit<T>]) -> Result<()>,
    ) -> Result<Tensor> {
        Tensor::build_as(shape, T::DTYPE, fill)
    }

    /// [`Tensor::build`] for a kernel that knows only the size of its elements, `T`, and not their meaning, `dtype`.
    pub(crate) fn build_as<T: Copy>(
        shape: &[usize],
        dtype: DType,
        fill: impl FnOnce(&mut [MaybeUninit<T>]) -> Result<()>,
    ) -> Result<Tensor> {
        debug_assert_eq!(size_of::<T>(), dtype.size());
        let bytes = bytes_of(shape, dtype.size())?;
        let (numel, buffer) = (bytes / dtype.size(), Buffer::uninit(bytes)?);
        // SAFETY: the block is ours alone, aligned to a cache line, and long enough for `numel` uninitialised elements.
        fill(unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast(), numel) })?;
        Ok(Tensor::over(Arc::new(Storage::Cpu(buffer)), Layout::contiguous(shape), dtype))
    }

    /// A tensor of `shape` with a copy of `values`, in C order.
    ///
    /// # Errors
    /// `Argument` when `values` and `shape` have different numbers of elements.
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Tensor> {
        if checked_numel("from_slice", shape, size_of::<T>())? != values.len() {
            return Err(Error::argument(
                "from_slice",
                format!("{} values do not fill shape {shape:?}", values.len()),
            ));
        }
        Tensor::build(shape, |out| {
            out.write_copy_of_slice(values);
            Ok(())
        })
    }

    /// A tensor of `shape` with a copy of `bytes`: elements of `dtype` in C order and the machine's byte order, at any address.
    ///
    /// # Errors
    /// `Argument` when there are not as many bytes as the shape needs.
    pub fn from_bytes(bytes: &[u8], shape: &[usize], dtype: DType) -> Result<Tensor> {
        if checked_numel("from_bytes", shape, dtype.size())? * dtype.size() != bytes.len() {
            let message = format!("{} bytes do not fill shape {shape:?} with {dtype}", bytes.len());
            return Err(Error::argument("from_bytes", message));
        }
        let buffer = Buffer::uninit(bytes.len())?;
        // SAFETY: the block is new, ours alone, and as long as the source.
        unsafe { buffer.as_mut_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(Tensor::over(Arc::new(Storage::Cpu(buffer)), Layout::contiguous(shape), dtype))
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.0.layout.shape()
    }

    /// The number of dimensions.
    pub fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.0.layout.numel()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Where the elements lie.
    pub fn device(&self) -> Device {
        self.0.storage.device()
    }

    /// Shape, strides and offset, in elements.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The memory, shared with every view of it.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.0.storage
    }

    /// Whether the elements lie in C order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.0.layout.is_contiguous()
    }

    pub(crate) fn backend(&self) -> &'static dyn Backend {
        self.0.storage.backend()
    }

    /// The first element's address in the memory of its device, for those who lend the memory on.
    pub fn as_ptr(&self) -> *const u8 {
        // Wrapping, because the offset of a tensor without elements may lie anywhere.
        self.0.storage.as_ptr().wrapping_add(self.0.layout.offset() * self.dtype().size())
    }

    /// The elements in C order.
    ///
    /// The memory may be shared with NumPy: who writes there meanwhile makes the values read here arbitrary, as between two arrays.
    ///
    /// # Errors
    /// `DType` when `T` is not the tensor's; `Argument` when the tensor is not contiguous, or not the processor's.
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        if T::DTYPE != self.dtype() {
            let rule = "the elements must have the type that is asked for";
            return Err(Error::DType { op: "as_slice", rule, dtype: self.dtype() });
        }
        if !self.is_contiguous() {
            return Err(Error::argument(
                "as_slice",
                "the tensor must be contiguous: call contiguous() first",
            ));
        }
        if self.device() != Device::Cpu {
            let message = format!("the tensor lies on {}: copy it to the CPU first", self.device());
            return Err(Error::argument("as_slice", message));
        }
        Ok(self.elements())
    }

    /// The elements of a contiguous tensor, for kernels that have looked at the dtype. Bools read as bytes.
    pub(crate) fn elements<T: Element>(&self) -> &[T] {
        debug_assert!(self.is_contiguous() && size_of::<T>() == self.dtype().size());
        debug_assert_eq!(self.device(), Device::Cpu);
        if self.numel() == 0 {
            return &[];
        }
        // SAFETY: contiguous, of type T and aligned (checked when the tensor was made), and alive as long as `self`.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), self.numel()) }
    }

    /// A copy of the elements' bytes in C order.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensor = self.detach().contiguous()?.to_device(Device::Cpu)?;
        let len = tensor.numel() * tensor.dtype().size();
        if len == 0 {
            return Ok(Vec::new());
        }
        // SAFETY: a contiguous tensor covers this many bytes, and any bytes are valid u8.
        Ok(unsafe { std::slice::from_raw_parts(tensor.as_ptr(), len) }.to_vec())
    }

    /// The one element, as a number.
    ///
    /// # Errors
    /// `Argument` when there is not exactly one element; `DType` for complex ones.
    pub fn item(&self) -> Result<Scalar> {
        if self.numel() != 1 {
            let message = format!("only a tensor of one element is a number, got shape {:?}", self.shape());
            return Err(Error::argument("item", message));
        }
        let one = self.detach().to_device(Device::Cpu)?;
        Ok(match self.dtype() {
            DType::Bool => Scalar::Bool(one.to_dtype(DType::U8)?.view(&[1])?.elements::<u8>()[0] != 0),
            dtype if dtype.is_float() => {
                Scalar::Float(one.to_dtype(DType::F64)?.view(&[1])?.elements::<f64>()[0])
            }
            _ => Scalar::Int(one.to_dtype(DType::I64)?.view(&[1])?.elements::<i64>()[0]),
        })
    }

    /// What this is a view of, if it is one.
    pub(crate) fn base(&self) -> Option<&Tensor> {
        self.0.base.as_ref()
    }

    pub(crate) fn history(&self) -> &History {
        &self.0.history
    }

    /// Whether this is the very same tensor, not only an equal one.
    pub fn is(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether both are views of one memory, or of memories that overlap.
    pub fn shares_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(self.storage(), other.storage()) || self.storage().overlaps(other.storage())
    }

    /// Whether nobody else holds this tensor or its memory, so that reusing it changes nothing for anyone.
    pub(crate) fn is_sole(&self) -> bool {
        Arc::strong_count(&self.0) == 1
            && Arc::strong_count(self.storage()) == 1
            && self.is_contiguous()
            && self.storage().is_writable()
    }

    /// Tells the system that the elements are not needed for now, where they lie in a mapped file and nobody has written there: their
    /// pages, gaps included, take no memory of this process until they are read again.
    pub fn evict(&self) {
        if self.numel() == 0 {
            return;
        }
        let (mut first, mut last) = (self.layout().offset(), self.layout().offset());
        for (&size, &stride) in self.shape().iter().zip(self.layout().strides()) {
            let reach = (size - 1) * stride.unsigned_abs();
            if stride < 0 { first -= reach } else { last += reach }
        }
        let Storage::Cpu(buffer) = self.storage().as_ref() else { return };
        let item = self.dtype().size();
        buffer.evict(first * item..(last + 1) * item);
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?} on {})", self.dtype(), self.shape(), self.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_beyond_the_storage_is_refused() {
        let storage = Arc::new(Storage::Cpu(Buffer::uninit(16).unwrap()));
        let at = |shape: &[usize], strides: &[isize], offset| {
            Tensor::from_storage(storage.clone(), Layout::strided(shape, strides, offset), DType::F32)
        };
        assert!(at(&[4], &[1], 0).is_ok());
        assert!(at(&[4], &[-1], 3).is_ok());
        assert!(at(&[4], &[-1], 2).is_err());
        assert!(at(&[5], &[1], 0).is_err());
        assert!(at(&[2], &[isize::MAX], 0).is_err());
        assert!(at(&[0], &[1], 0).is_ok());
    }
}
