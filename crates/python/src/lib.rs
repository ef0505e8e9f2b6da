//! The native half of the Python package: classes that convert arguments and release the GIL, nothing else.

mod cache;
mod checkpoint;
mod config;
mod cuda;
mod errors;
mod generation;
mod hub;
mod inputs;
mod interrupt;
mod model;
mod profile;
mod tensor;
mod threads;
mod tokenizer;
mod training;

use pyo3::prelude::*;

/// The module `trustformers._engine`. Nothing in it relies on the GIL: classes are frozen, what changes in them is behind locks, so that
/// free-threaded interpreters need not turn theirs on.
#[pymodule(gil_used = false)]
mod _engine {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::cache::PyCache;
    #[pymodule_export]
    use crate::checkpoint::{load_checkpoint, save_checkpoint};
    #[pymodule_export]
    use crate::config::{architectures, complete_config, read_config};
    #[pymodule_export]
    use crate::cuda::{
        allow_tf32, cuda_current_device, cuda_device, cuda_device_count, cuda_index, cuda_mem_get_info,
        cuda_set_device, cuda_stream, cuda_synchronize, is_tf32_allowed, resolve_device,
    };
    #[pymodule_export]
    use crate::errors::{OutOfMemoryError, SafetensorError};
    #[pymodule_export]
    use crate::generation::{PyProcessor, PyRequest, PyStopStrings};
    #[pymodule_export]
    use crate::hub::PyRepo;
    #[pymodule_export]
    use crate::interrupt::PyCancellation;
    #[pymodule_export]
    use crate::model::PyModel;
    #[pymodule_export]
    use crate::profile::{PyProfile, PyProfileEvent, PyProfileRow, PyProfileRows};
    #[pymodule_export]
    use crate::tensor::{PyDType, PyTensor};
    #[pymodule_export]
    use crate::threads::{cpu_capabilities, get_num_threads, set_num_threads};
    #[pymodule_export]
    use crate::tokenizer::{
        PyAddedToken, PyBatch, PyEncoding, PyNormalizer, PyPreTokenizer, PyTokenizer, chat_template_texts,
        extra_special_tokens, render_chat, tokenizer_kinds,
    };
    #[pymodule_export]
    use crate::training::{
        PyGradScaler, PyOptimizer, PySchedule, clip_grad_norm_, clip_grad_value_, get_total_norm,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::tensor::add_to(module)?;
        // Nobody imports all of a private module, and its stub would have to repeat the list.
        module.delattr("__all__")
    }
}
