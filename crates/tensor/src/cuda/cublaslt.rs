//! The functions of cuBLASLt that are called, of whichever version was found.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;

use cudarc::cublaslt::sys::{
    cublasComputeType_t as Compute, cublasLtHandle_t as Handle, cublasLtMatmulAlgo_t as Algorithm,
    cublasLtMatmulDesc_t as Desc, cublasLtMatmulDescAttributes_t as DescAttribute,
    cublasLtMatmulHeuristicResult_t as Heuristic, cublasLtMatmulPreference_t as Preference,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cublasLtMatrixLayout_t as Layout,
    cublasLtMatrixLayoutAttribute_t as LayoutAttribute, cublasStatus_t as Status, cudaDataType,
};

use super::library::functions;
use crate::Result;

functions! {
    /// cuBLASLt.
    CublasLt {
        cublasLtCreate(*mut Handle) -> Status;
        cublasLtMatmulDescCreate(*mut Desc, Compute, cudaDataType) -> Status;
        cublasLtMatmulDescSetAttribute(Desc, DescAttribute, *const c_void, usize) -> Status;
        cublasLtMatmulDescDestroy(Desc) -> Status;
        cublasLtMatrixLayoutCreate(*mut Layout, cudaDataType, u64, u64, i64) -> Status;
        cublasLtMatrixLayoutSetAttribute(Layout, LayoutAttribute, *const c_void, usize) -> Status;
        cublasLtMatrixLayoutDestroy(Layout) -> Status;
        cublasLtMatmulPreferenceCreate(*mut Preference) -> Status;
        cublasLtMatmulPreferenceSetAttribute(Preference, PreferenceAttribute, *const c_void, usize) -> Status;
        cublasLtMatmulPreferenceDestroy(Preference) -> Status;
        cublasLtMatmulAlgoGetHeuristic(
            Handle, Desc, Layout, Layout, Layout, Layout, Preference, c_int, *mut Heuristic, *mut c_int,
        ) -> Status;
        cublasLtMatmul(
            Handle, Desc, *const c_void, *const c_void, Layout, *const c_void, Layout, *const c_void, *const c_void, Layout,
            *mut c_void, Layout, *const Algorithm, *mut c_void, usize, *mut c_void,
        ) -> Status;
    }
}

/// The products of matrices.
///
/// # Errors
/// `Device` where they are not installed.
pub(super) fn products() -> Result<&'static CublasLt> {
    let file = |version| match cfg!(windows) {
        true => format!("cublasLt64_{version}.dll"),
        false => format!("libcublasLt.so.{version}"),
    };
    // SAFETY: what has this name is that library.
    unsafe { CublasLt::found("matrix products (cuBLASLt)", file) }
}

/// What went wrong, if anything did.
pub(super) fn done(status: Status) -> Result<(), Status> {
    if status == Status::CUBLAS_STATUS_SUCCESS { Ok(()) } else { Err(status) }
}

/// What `make` writes where it is told to, if it says that all is well.
fn made<T>(make: impl FnOnce(*mut T) -> Status) -> Result<T, Status> {
    let mut room = MaybeUninit::uninit();
    done(make(room.as_mut_ptr()))?;
    // SAFETY: as this function says, which those below hold to.
    Ok(unsafe { room.assume_init() })
}

/// Whoever makes something has to destroy it, once.
impl CublasLt {
    pub(super) fn handle(&self) -> Result<Handle, Status> {
        // SAFETY: it writes a handle.
        made(|to| unsafe { (self.cublasLtCreate)(to) })
    }

    pub(super) fn product(&self, compute: Compute, scale: cudaDataType) -> Result<Desc, Status> {
        // SAFETY: it writes a descriptor.
        made(|to| unsafe { (self.cublasLtMatmulDescCreate)(to, compute, scale) })
    }

    pub(super) fn layout(
        &self,
        dtype: cudaDataType,
        rows: u64,
        columns: u64,
        leading: i64,
    ) -> Result<Layout, Status> {
        // SAFETY: it writes a layout.
        made(|to| unsafe { (self.cublasLtMatrixLayoutCreate)(to, dtype, rows, columns, leading) })
    }

    pub(super) fn preference(&self) -> Result<Preference, Status> {
        // SAFETY: it writes a preference.
        made(|to| unsafe { (self.cublasLtMatmulPreferenceCreate)(to) })
    }

    /// The algorithm that is thought to be the fastest for `matrices`: both factors, what is added, and the result.
    ///
    /// # Safety
    /// All must be alive.
    pub(super) unsafe fn fastest(
        &self,
        handle: Handle,
        product: Desc,
        [left, right, added, out]: [Layout; 4],
        preference: Preference,
    ) -> Result<Algorithm, Status> {
        let mut count = 0;
        // SAFETY: as the caller promises; there is room for one.
        let found: MaybeUninit<Heuristic> = made(|to: *mut MaybeUninit<Heuristic>| unsafe {
            let to = to.cast();
            (self.cublasLtMatmulAlgoGetHeuristic)(
                handle, product, left, right, added, out, preference, 1, to, &mut count,
            )
        })?;
        if count == 0 {
            return Err(Status::CUBLAS_STATUS_NOT_SUPPORTED);
        }
        // SAFETY: one was written.
        let found = unsafe { found.assume_init() };
        done(found.state).map(|()| found.algo)
    }
}
