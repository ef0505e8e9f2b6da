//! `trustformers.float32` and its like.

use std::hash::{DefaultHasher, Hash, Hasher};

use numpy::npyffi::{NPY_TYPES, PY_ARRAY_API};
use numpy::{PyArrayDescr, PyArrayDescrMethods};
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};
use trustformers::tensor::DType;

use crate::errors;

/// The type of a tensor's elements. One object per type, so `is` and `==` both work; equal to its name, to NumPy's dtype and to
/// torch's of the same name.
#[pyclass(frozen, weakref, name = "dtype", module = "trustformers", from_py_object)]
#[derive(Clone, Copy)]
pub struct PyDType(pub DType);

/// Adds the dtypes to `module` by their names; that of bools is `bool_`, which does not hide Python's own.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    DType::ALL.iter().try_for_each(|&dtype| {
        let name = if dtype == DType::Bool { "bool_" } else { dtype.name() };
        module.add(name, object(module.py(), dtype)?)
    })
}

/// The one Python object that stands for `dtype`.
pub fn object(py: Python<'_>, dtype: DType) -> PyResult<Bound<'_, PyDType>> {
    static OBJECTS: [PyOnceLock<Py<PyDType>>; DType::ALL.len()] =
        [const { PyOnceLock::new() }; DType::ALL.len()];
    OBJECTS[dtype as usize]
        .get_or_try_init(py, || Py::new(py, PyDType(dtype)))
        .map(|object| object.bind(py).clone())
}

/// A dtype argument: ours, its name, NumPy's, torch's, or one of Python's types `float`, `int`, `bool`, `complex`.
pub fn parse(object: &Bound<'_, PyAny>) -> PyResult<DType> {
    if let Ok(dtype) = object.cast::<PyDType>() {
        return Ok(dtype.get().0);
    }
    if let Ok(name) = object.cast::<PyString>()
        && let Ok(dtype) = name.to_str()?.parse()
    {
        return Ok(dtype);
    }
    if let Ok(descr) = object.cast::<PyArrayDescr>() {
        return of_numpy(descr);
    }
    if is_torch(object) {
        return object.str()?.to_str()?.parse().map_err(errors::tensor);
    }
    if object.is_instance_of::<PyString>() || object.is_instance_of::<PyType>() {
        return of_numpy(&PyArrayDescr::new(object.py(), object)?);
    }
    let message =
        format!("a dtype must be one such as trustformers.float32 or 'float32', got {}", object.repr()?);
    Err(PyTypeError::new_err(message))
}

fn is_torch(object: &Bound<'_, PyAny>) -> bool {
    let class = object.get_type();
    class.name().is_ok_and(|name| name == "dtype") && class.module().is_ok_and(|module| module == "torch")
}

/// The dtype whose elements a NumPy array of `descr` holds.
///
/// # Errors
/// `TypeError` with the remedy for everything that is no plain number in this machine's byte order.
pub fn of_numpy(descr: &Bound<'_, PyArrayDescr>) -> PyResult<DType> {
    let swapped = if cfg!(target_endian = "little") { b'>' } else { b'<' };
    let refuse = |what: &str, remedy: &str| {
        let shown = descr.str().map(|text| text.to_string()).unwrap_or_default();
        Err(PyTypeError::new_err(format!("a tensor cannot hold {what} ({shown}): {remedy}")))
    };
    if descr.byteorder() == swapped {
        return refuse(
            "byte-swapped numbers",
            "convert them with array.astype(array.dtype.newbyteorder('='))",
        );
    }
    let dtype = match (descr.kind(), descr.itemsize()) {
        (b'b', 1) => DType::Bool,
        (b'u', 1) => DType::U8,
        (b'u', 2) => DType::U16,
        (b'u', 4) => DType::U32,
        (b'u', 8) => DType::U64,
        (b'i', 1) => DType::I8,
        (b'i', 2) => DType::I16,
        (b'i', 4) => DType::I32,
        (b'i', 8) => DType::I64,
        (b'f', 2) => DType::F16,
        (b'f', 4) => DType::F32,
        (b'f', 8) => DType::F64,
        (b'c', 8) => DType::C64,
        (b'c', 16) => DType::C128,
        (b'f' | b'c', _) => return refuse("extended precision", "convert them with array.astype('float64')"),
        (b'O', _) => {
            return refuse(
                "Python objects",
                "convert them with array.astype('float32') or another number type",
            );
        }
        (b'M' | b'm', _) => return refuse("dates and times", "take their counts with array.astype('int64')"),
        (b'S' | b'U' | b'T', _) => return refuse("text", "convert it to numbers, or use a tokenizer"),
        (b'V', _) if descr.typeobj().name()? == "bfloat16" => DType::BF16,
        (b'V', _) if descr.has_fields() => {
            return refuse("structured records", "take one field: array['name']");
        }
        _ => {
            return refuse(
                "such elements",
                "convert them with array.astype('float32') or another number type",
            );
        }
    };
    Ok(dtype)
}

/// NumPy's dtype for the elements, `None` for bfloat16, which NumPy lacks.
pub fn to_numpy(py: Python<'_>, dtype: DType) -> Option<Bound<'_, PyArrayDescr>> {
    let number = match dtype {
        DType::Bool => NPY_TYPES::NPY_BOOL,
        DType::U8 => NPY_TYPES::NPY_UBYTE,
        DType::U16 => NPY_TYPES::NPY_USHORT,
        DType::U32 => return Some(numpy::dtype::<u32>(py)),
        DType::U64 => return Some(numpy::dtype::<u64>(py)),
        DType::I8 => NPY_TYPES::NPY_BYTE,
        DType::I16 => NPY_TYPES::NPY_SHORT,
        DType::I32 => return Some(numpy::dtype::<i32>(py)),
        DType::I64 => return Some(numpy::dtype::<i64>(py)),
        DType::F16 => NPY_TYPES::NPY_HALF,
        DType::BF16 => return None,
        DType::F32 => NPY_TYPES::NPY_FLOAT,
        DType::F64 => NPY_TYPES::NPY_DOUBLE,
        DType::C64 => NPY_TYPES::NPY_CFLOAT,
        DType::C128 => NPY_TYPES::NPY_CDOUBLE,
    };
    // SAFETY: the number is one of NumPy's own types, whose descriptor always exists; the reference returned is ours.
    unsafe {
        let descr = PY_ARRAY_API.PyArray_DescrFromType(py, number as _);
        Some(Bound::from_owned_ptr(py, descr.cast()).cast_into_unchecked())
    }
}

#[pymethods]
impl PyDType {
    /// The name, such as ``"float32"``.
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }

    /// Whether elements are real floating-point numbers.
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }

    /// Whether elements are complex numbers.
    #[getter]
    fn is_complex(&self) -> bool {
        self.0.is_complex()
    }

    /// Whether elements can be negative.
    #[getter]
    fn is_signed(&self) -> bool {
        !matches!(self.0, DType::Bool | DType::U8 | DType::U16 | DType::U32 | DType::U64)
    }

    /// NumPy's dtype, so that NumPy takes ours wherever it takes its own.
    ///
    /// :raises AttributeError: for bfloat16, which NumPy lacks.
    #[getter]
    fn dtype<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDescr>> {
        to_numpy(py, self.0).ok_or_else(|| PyAttributeError::new_err("NumPy has no bfloat16: use float32"))
    }

    fn __repr__(&self) -> String {
        format!("trustformers.{}", self.0)
    }

    fn __str__(&self) -> String {
        self.__repr__()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        parse(other).is_ok_and(|dtype| dtype == self.0)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (&'static str,))> {
        Ok((py.import("trustformers._engine")?.getattr("_dtype")?, (self.0.name(),)))
    }
}

/// The dtype that ``name`` names, for unpickling.
#[pyfunction]
pub fn _dtype<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyDType>> {
    object(py, name.parse().map_err(errors::tensor)?)
}
