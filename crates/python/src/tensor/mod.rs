//! The class `trustformers.Tensor`.

mod args;
mod arithmetic;
mod autograd;
mod buffer;
mod compare;
mod convert;
mod create;
pub mod device;
mod dlpack;
mod dtype;
mod files;
mod functions;
mod index;
mod memory;
mod nn;
mod numpy;
mod protocols;
mod reduce;
mod shape;

use ::numpy::PyUntypedArray;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use trustformers::tensor::{DType, Device, Tensor};

pub use self::create::draw;
pub use self::dtype::PyDType;
pub use self::numpy::{from_object, to_numpy};

/// An n-dimensional array over memory that it may share with NumPy, torch, a mapped file or other tensors.
#[pyclass(frozen, weakref, name = "Tensor", module = "trustformers")]
pub struct PyTensor(pub Tensor);

/// Adds what the class needs beside it: the dtypes and the functions.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    buffer::install(module.py())?;
    dtype::add_to(module)?;
    functions::add_methods(module)?;
    module.add("ValuesIndices", reduce::values_indices(module.py())?)?;
    macro_rules! add {
        ($($function:path),* $(,)?) => { $(module.add_function(wrap_pyfunction!($function, module)?)?;)* };
    }
    add!(
        autograd::grad,
        autograd::is_grad_enabled,
        autograd::_backward_to_bridges,
        autograd::_bridge,
        autograd::_bridges,
        autograd::set_autocast,
        autograd::set_grad_enabled,
        convert::_restore,
        dtype::_dtype,
        create::arange,
        create::as_tensor,
        create::eye,
        create::full,
        create::linspace,
        create::manual_seed,
        create::ones,
        create::ones_like,
        create::rand,
        create::randint,
        create::randn,
        create::randperm,
        create::tensor,
        create::zeros,
        create::zeros_like,
        files::load_file,
        files::save_file,
        functions::cat,
        functions::stack,
        functions::where_,
        memory::empty_cache,
        memory::max_memory_allocated,
        memory::memory_allocated,
        memory::memory_reserved,
        memory::reset_peak_memory_stats,
        nn::cross_entropy,
        nn::dropout,
        nn::embedding,
        nn::layer_norm,
        nn::linear,
    );
    Ok(())
}

#[pymethods]
impl PyTensor {
    /// A tensor over the memory of a NumPy array: nothing is copied, a write on one side is seen on the other.
    ///
    /// A read-only array gives a tensor whose in-place operations raise.
    ///
    /// :raises TypeError: for elements that are no plain numbers in this machine's byte order.
    /// :raises ValueError: for memory that is misaligned, or strides that are no multiples of an element.
    #[staticmethod]
    fn from_numpy(array: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
        match array.cast::<PyUntypedArray>() {
            Ok(array) => numpy::from_numpy(array).map(PyTensor),
            Err(_) => {
                let message = format!(
                    "from_numpy takes a numpy.ndarray, got {}: use trustformers.tensor for lists and numbers",
                    array.get_type().name()?
                );
                Err(PyTypeError::new_err(message))
            }
        }
    }

    /// A NumPy array over the tensor's memory: nothing is copied. A tensor made from a whole array gives that very array back.
    ///
    /// NumPy has no bfloat16: such tensors are copied as float32.
    ///
    /// :raises RuntimeError: for a tensor that requires a gradient, which would be lost: call :meth:`detach` first.
    /// :raises TypeError: for a tensor on a GPU: call :meth:`cpu` first.
    fn to_numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.0.requires_grad() {
            let message = "the gradient of this tensor would be lost in NumPy: call detach() first";
            return Err(PyRuntimeError::new_err(message));
        }
        to_numpy(py, &self.0)
    }

    /// The same as :meth:`to_numpy`, as torch calls it.
    fn numpy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.to_numpy(py)
    }

    /// The sizes of the dimensions.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.shape())
    }

    /// The sizes of the dimensions, or that of dimension ``dim``.
    #[pyo3(signature = (dim=None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<isize>) -> PyResult<Bound<'py, PyAny>> {
        match dim {
            None => Ok(self.shape(py)?.into_any()),
            Some(dim) => Ok(self.0.shape()[axis(&self.0, dim)?].into_pyobject(py)?.into_any()),
        }
    }

    /// The distance in elements between neighbours along each dimension; negative where a view walks backwards.
    #[getter]
    fn strides<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.layout().strides())
    }

    /// The strides in elements, or that of dimension ``dim``, as torch calls it.
    #[pyo3(signature = (dim=None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<isize>) -> PyResult<Bound<'py, PyAny>> {
        match dim {
            None => Ok(self.strides(py)?.into_any()),
            Some(dim) => Ok(self.0.layout().strides()[axis(&self.0, dim)?].into_pyobject(py)?.into_any()),
        }
    }

    /// The number of dimensions.
    #[getter]
    fn ndim(&self) -> usize {
        self.0.ndim()
    }

    /// The number of dimensions, as torch calls it.
    fn dim(&self) -> usize {
        self.0.ndim()
    }

    /// The number of elements.
    fn numel(&self) -> usize {
        self.0.numel()
    }

    /// The number of elements, by torch's other name for it.
    fn nelement(&self) -> usize {
        self.0.numel()
    }

    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.dtype().size()
    }

    /// Bytes of all elements.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.numel() * self.0.dtype().size()
    }

    /// The type of the elements.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDType>> {
        dtype::object(py, self.0.dtype())
    }

    /// The real parts, a view; of real numbers the tensor itself.
    #[getter]
    fn real(&self) -> PyTensor {
        PyTensor(self.0.real())
    }

    /// The imaginary parts: a view.
    ///
    /// :raises TypeError: for real numbers.
    #[getter]
    fn imag(&self) -> PyResult<PyTensor> {
        self.0.imag().map(PyTensor).map_err(crate::errors::tensor)
    }

    /// The conjugates, in new memory; of real numbers the tensor itself.
    fn conj(&self, py: Python<'_>) -> PyResult<PyTensor> {
        args::apply(py, &self.0, Tensor::conj)
    }

    /// Where the elements lie, such as ``cpu`` or ``cuda:0``.
    #[getter(device)]
    fn place<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        device::object(py, self.0.device())
    }

    /// Whether the elements lie on a GPU.
    #[getter]
    fn is_cuda(&self) -> bool {
        self.0.device() != Device::Cpu
    }

    /// Whether the elements lie on the processor.
    #[getter]
    fn is_cpu(&self) -> bool {
        self.0.device() == Device::Cpu
    }

    /// The number of the GPU; -1 on the processor.
    fn get_device(&self) -> isize {
        match self.0.device() {
            Device::Cpu => -1,
            Device::Cuda(index) => index as isize,
        }
    }

    /// Whether the elements lie in C order without gaps.
    fn is_contiguous(&self) -> bool {
        self.0.is_contiguous()
    }

    /// Whether the elements may be changed in place: not those of a read-only array or file.
    #[getter]
    fn is_writable(&self) -> bool {
        self.0.storage().is_writable()
    }

    /// The address of the first element.
    fn data_ptr(&self) -> usize {
        self.0.as_ptr() as usize
    }

    /// The elements as nested lists of Python numbers; a number if there are no dimensions.
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_numpy(py, &convert::to_host(py, &self.0)?)?.call_method0(intern!(py, "tolist"))
    }

    /// The only element as a Python number.
    ///
    /// :raises ValueError: when there are more or none.
    fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_numpy(py, &convert::to_host(py, &self.0)?)?.call_method0(intern!(py, "item"))
    }

    fn __len__(&self) -> PyResult<usize> {
        self.0
            .shape()
            .first()
            .copied()
            .ok_or_else(|| PyTypeError::new_err("a tensor without dimensions has no length"))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "prefix"), "tensor(")?;
        options.set_item(intern!(py, "separator"), ", ")?;
        let array = to_numpy(py, &convert::to_host(py, &self.0)?)?;
        let values = py.import(intern!(py, "numpy"))?.call_method(
            intern!(py, "array2string"),
            (array,),
            Some(&options),
        )?;
        let mut text = format!("tensor({values}");
        if self.0.numel() == 0 {
            text += &format!(", size={}", self.shape(py)?);
        }
        if self.is_cuda() {
            text += &format!(", device='{}'", self.0.device());
        }
        if let Some(op) = self.0.grad_fn() {
            text += &format!(", grad_fn={op}");
        } else if self.0.requires_grad() {
            text += ", requires_grad=True";
        }
        if !matches!(self.0.dtype(), DType::F32 | DType::I64 | DType::Bool | DType::C64) {
            text += &format!(", dtype=trustformers.{}", self.0.dtype());
        }
        Ok(text + ")")
    }
}

/// Counts `dim` from the end where it is negative.
///
/// # Errors
/// `IndexError` when there is no such dimension.
pub fn axis(tensor: &Tensor, dim: isize) -> PyResult<usize> {
    let ndim = tensor.ndim() as isize;
    if dim < -ndim || dim >= ndim {
        let message = format!("dimension {dim} is out of range for shape {:?}", tensor.shape());
        return Err(pyo3::exceptions::PyIndexError::new_err(message));
    }
    Ok(dim.rem_euclid(ndim) as usize)
}
