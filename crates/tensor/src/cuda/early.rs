//! Kernels that begin before those in front of them are done: programmatic dependent launch, of GPUs from compute capability 9.0 on.
//!
//! Such a kernel waits for those in front of it by its first statement, see `kernels/early.cuh`. The host looks for that statement in the source: what
//! does not wait is not launched so, and nobody has to keep a list.

use std::ffi::c_int;

use cudarc::driver::result::{DriverError, function};
use cudarc::driver::sys::{self, CUfunction_attribute, CUlaunchAttributeID};

/// The oldest driver that records such launches into graphs.
const OLDEST_DRIVER: c_int = 12_030;
/// The oldest generation whose kernels wait. What is compiled for earlier ones runs on later ones, too, and does not.
const OLDEST_GENERATION: c_int = 90;

/// Whether `function`, the kernel `name` of `source`, may be launched so with a driver of this version.
///
/// # Safety
/// The function's module must be loaded.
pub(super) unsafe fn may_come_early(
    driver: c_int,
    source: &str,
    name: &str,
    function: sys::CUfunction,
) -> Result<bool, DriverError> {
    if driver < OLDEST_DRIVER || !waits(source, name) {
        return Ok(false);
    }
    // SAFETY: as the caller promises.
    let compiled_for = unsafe {
        function::get_function_attribute(function, CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION)?
    };
    Ok(compiled_for >= OLDEST_GENERATION)
}

/// What says so of a launch.
pub(super) fn attribute() -> sys::CUlaunchAttribute {
    let mut value = sys::CUlaunchAttributeValue { pad: [0; 64] };
    value.programmaticStreamSerializationAllowed = 1;
    let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    sys::CUlaunchAttribute { id, pad: [0; 4], value }
}

/// Whether a kernel waits before it does anything else.
fn waits(source: &str, name: &str) -> bool {
    kernels(source).any(|(kernel, first)| kernel == name && first.contains("come_early("))
}

/// The kernels of a source, and the first statement of each.
fn kernels(source: &str) -> impl Iterator<Item = (&str, &str)> {
    source.split("\nKERNEL(").skip(1).filter_map(|kernel| {
        let (head, body) = kernel.split_once('{')?;
        let (_, head) = head.split_once(") ")?;
        Some((head.split_once('(')?.0, body.split_once(';')?.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::modules::KERNELS;

    #[test]
    fn steps_of_decoding_come_early() {
        let found: Vec<String> = KERNELS
            .iter()
            .flat_map(|&(file, text)| {
                let early = kernels(text).map(|(name, _)| name).filter(|name| waits(text, name));
                early.map(|name| format!("{file} {name}")).collect::<Vec<_>>()
            })
            .collect();
        let wanted = [
            "decode.cu decode",
            "decode.cu combine",
            "gemv.cu gemv",
            "gemv.cu gemv_turned",
            "heads.cu rope",
            "heads.cu store_rows",
            "norm.cu layer_norm",
            "norm.cu rms_norm",
            "quant.cu gemv",
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn who_waits_does_so_first_and_reads_what_others_write() {
        for (file, text) in KERNELS {
            let early = kernels(text).filter(|(name, _)| waits(text, name)).count();
            assert_eq!(text.matches("come_early(").count(), early, "{file}: elsewhere it is of no use");
            assert_eq!(kernels(text).count(), text.matches("\nKERNEL(").count(), "{file}");
            for kernel in text.split("\nKERNEL(").skip(1) {
                let whole = kernel.split("\n}\n").next().unwrap_or_default();
                let is_early = whole.contains("come_early(");
                assert!(!is_early || !whole.contains("__restrict__"), "{file}: {whole}");
            }
        }
        let late = "\nKERNEL(256) late(int* x) {\n    *x = 1;\n    come_early();\n}\n";
        assert!(!waits(late, "late") && !waits(late, "early"));
    }
}
