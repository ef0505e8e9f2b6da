//! Products of matrices by cuBLASLt, with what is done to their sums on the way out. What it finds best for a shape is found once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::sys::{
    cublasComputeType_t as Compute, cublasLtEpilogue_t as Epilogue, cublasLtHandle_t, cublasLtMatmulAlgo_t,
    cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t as DescAttribute,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cublasLtMatrixLayout_t,
    cublasLtMatrixLayoutAttribute_t as LayoutAttribute, cublasStatus_t as Status, cudaDataType,
};

use super::cublaslt::{CublasLt, done, products};
use super::gpu::{Gpu, Handle};
use super::memory::Memory;
use crate::{DType, Error, Result};

/// What NVIDIA recommends for Hopper, and for other GPUs. Where there is no room for it, products do without.
const WORKSPACES: [usize; 2] = [32 << 20, 4 << 20];

/// What more than this no algorithm asks for.
const ALIGNMENT: u32 = 256;

/// What algorithms read a bias in pieces of, without asking whether it lies so.
pub(super) const BIAS_ALIGNMENT: u64 = 16;

/// The most matrices of one product: a GPU counts blocks in this direction in 16 bits.
pub(super) const MOST_MATRICES: usize = 65_535;

/// What is known of more products than this is forgotten: who multiplies ever new shapes would keep more and more.
const MOST_PLANS: usize = 4096;

/// Matrices (rows, columns) in memory, any number of them at equal distances. Elements are neighbours along one of both dimensions.
#[derive(Clone, Copy)]
pub(super) struct Matrices {
    /// The first element of the first.
    pub address: u64,
    pub dtype: DType,
    pub shape: [usize; 2],
    /// In elements.
    pub strides: [usize; 2],
    /// From one matrix to the next, in elements.
    pub apart: usize,
}

/// How sums come out.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Function {
    Identity,
    Relu,
    /// The one with the hyperbolic tangent.
    GeluTanh,
}

/// `out = function(left right + bias + add)` for each of `count` matrices.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub out: Matrices,
    pub left: Matrices,
    pub right: Matrices,
    pub count: usize,
    /// One number of the dtype of `out` for each of its columns. They lie on a boundary of [`BIAS_ALIGNMENT`].
    pub bias: Option<u64>,
    /// What is laid out as `out` is, and may be `out`.
    pub add: Option<u64>,
    pub function: Function,
}

/// What decides how a product is best computed.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    matrices: [([usize; 2], usize, bool, usize, DType); 3],
    /// Of the result, what is added to it, and both factors.
    alignments: [u32; 4],
    count: usize,
    biased: bool,
    added: bool,
    function: Function,
    tf32: bool,
}

/// A product that was prepared.
struct Plan {
    library: &'static CublasLt,
    product: Handle<cublasLtMatmulDesc_t>,
    out: Handle<cublasLtMatrixLayout_t>,
    left: Handle<cublasLtMatrixLayout_t>,
    right: Handle<cublasLtMatrixLayout_t>,
    algorithm: cublasLtMatmulAlgo_t,
}

impl Product {
    /// The same for up to [`MOST_MATRICES`] matrices from one on.
    pub(super) fn part(&self, from: usize) -> Product {
        let later = |m: Matrices| m.address + (from * m.apart * m.dtype.size()) as u64;
        let at = |m: Matrices| Matrices { address: later(m), ..m };
        let moved = later(self.out) - self.out.address;
        Product {
            out: at(self.out),
            left: at(self.left),
            right: at(self.right),
            count: (self.count - from).min(MOST_MATRICES),
            add: self.add.map(|add| add + moved),
            ..*self
        }
    }

    /// What the addresses of the result, of what is added, and of left and right are multiples of, at most [`ALIGNMENT`]. Unless told, the library takes
    /// it that all are.
    fn alignments(&self) -> [u32; 4] {
        let of = |address: u64| 1 << address.trailing_zeros().min(ALIGNMENT.trailing_zeros());
        [self.out.address, self.add.unwrap_or(self.out.address), self.left.address, self.right.address]
            .map(of)
    }
}

/// The library's handle of a device.
pub(super) struct Blas {
    library: &'static CublasLt,
    handle: Handle<cublasLtHandle_t>,
    /// Nothing for what the library has no algorithm for.
    plans: Mutex<HashMap<Key, Option<Plan>>>,
    workspace: Option<Memory>,
}

/// Nothing where the library says that it has no such product on this device.
fn possible<T>(made: Result<T, Status>) -> Result<Option<T>> {
    match made {
        Err(Status::CUBLAS_STATUS_NOT_SUPPORTED | Status::CUBLAS_STATUS_ARCH_MISMATCH) => Ok(None),
        made => made.map(Some).map_err(failed),
    }
}

/// What went wrong.
fn failed(error: Status) -> Error {
    Error::Device(format!("a product of matrices failed: {error:?}"))
}

impl Blas {
    pub(super) fn new(gpu: &'static Gpu) -> Result<Blas> {
        let library = products()?;
        let handle = Handle(library.handle().map_err(failed)?);
        let most = if gpu.capability()[0] >= 9 { &WORKSPACES[..] } else { &WORKSPACES[1..] };
        let workspace = most.iter().find_map(|&bytes| Memory::uninit(gpu, bytes).ok());
        Ok(Blas { library, handle, plans: Mutex::default(), workspace })
    }

    /// Puts the product on the stream, if the library has an algorithm for it, and says whether it had one. Float32 is computed in TF32 where the
    /// caller has allowed that.
    pub(super) fn run(&self, gpu: &Gpu, product: &Product, tf32: bool) -> Result<bool> {
        let _bound = gpu.bind()?;
        let Product { out, left, right, count, bias, add, function } = *product;
        let of = |m: Matrices| (m.shape, m.leading(), m.is_turned(), m.apart, m.dtype);
        let key = Key {
            matrices: [of(out), of(left), of(right)],
            alignments: product.alignments(),
            count,
            biased: bias.is_some(),
            added: add.is_some(),
            function,
            tf32,
        };
        // A panic elsewhere leaves whole plans: they are made before they are kept.
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MOST_PLANS {
            plans.clear();
        }
        let known = match plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(possible(self.plan(product, tf32))?),
        };
        let Some(plan) = known else { return Ok(false) };
        let (one, beta) =
            (Scale::of(out.dtype, 1.0), Scale::of(out.dtype, if add.is_some() { 1.0 } else { 0.0 }));
        // Without something to add, what is there already is not looked at.
        let added = add.unwrap_or(out.address) as *const c_void;
        // SAFETY: the plan was made for matrices of these shapes, which lie in memory of this device, as the caller promises by having them;
        // the bias is set under the lock under which it is used.
        unsafe {
            if let Some(bias) = bias {
                plan.set(DescAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias).map_err(failed)?;
            }
            let status = (self.library.cublasLtMatmul)(
                self.handle.0,
                plan.product.0,
                one.as_ptr(),
                right.address as *const c_void,
                plan.right.0,
                left.address as *const c_void,
                plan.left.0,
                beta.as_ptr(),
                added,
                plan.out.0,
                out.address as *mut c_void,
                plan.out.0,
                &plan.algorithm,
                self.workspace.as_ref().map_or(0, Memory::address) as *mut c_void,
                self.workspace.as_ref().map_or(0, Memory::len),
                gpu.stream().cast(),
            );
            let done = possible(done(status))?;
            if done.is_none() {
                *known = None;
            }
            Ok(done.is_some())
        }
    }

    /// The library counts columns first, where rows that lie one after another are the columns of the transposed: so the transposed of everything
    /// is computed, `outᵀ = rightᵀ leftᵀ`.
    fn plan(&self, product: &Product, tf32: bool) -> Result<Plan, Status> {
        let Product { out, left, right, count, bias, function, .. } = *product;
        let (compute, scale) = match out.dtype {
            DType::F64 => (Compute::CUBLAS_COMPUTE_64F, cudaDataType::CUDA_R_64F),
            _ if tf32 => (Compute::CUBLAS_COMPUTE_32F_FAST_TF32, cudaDataType::CUDA_R_32F),
            _ => (Compute::CUBLAS_COMPUTE_32F, cudaDataType::CUDA_R_32F),
        };
        let epilogue = match (function, bias) {
            (Function::Identity, None) => Epilogue::CUBLASLT_EPILOGUE_DEFAULT,
            (Function::Identity, Some(_)) => Epilogue::CUBLASLT_EPILOGUE_BIAS,
            (Function::Relu, None) => Epilogue::CUBLASLT_EPILOGUE_RELU,
            (Function::Relu, Some(_)) => Epilogue::CUBLASLT_EPILOGUE_RELU_BIAS,
            (Function::GeluTanh, None) => Epilogue::CUBLASLT_EPILOGUE_GELU,
            (Function::GeluTanh, Some(_)) => Epilogue::CUBLASLT_EPILOGUE_GELU_BIAS,
        };
        // What cuBLAS calls CUBLAS_OP_N and CUBLAS_OP_T.
        let turned = |m: Matrices| i32::from(m.is_turned());
        let mut made = Plan {
            library: self.library,
            product: Handle(self.library.product(compute, scale)?),
            out: Handle(out.layout(self.library, count)?),
            left: Handle(left.layout(self.library, count)?),
            right: Handle(right.layout(self.library, count)?),
            // SAFETY: a number in plain memory, which is overwritten below.
            algorithm: unsafe { std::mem::zeroed() },
        };
        // SAFETY: all of them were just made, and go with the plan.
        unsafe {
            made.set(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSA, &turned(right))?;
            made.set(DescAttribute::CUBLASLT_MATMUL_DESC_TRANSB, &turned(left))?;
            made.set(DescAttribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            if let Some(bias) = bias {
                made.set(DescAttribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
            }
            let preference = self.library.preference()?;
            let wish = |which, value: *const c_void, size| {
                done((self.library.cublasLtMatmulPreferenceSetAttribute)(preference, which, value, size))
            };
            let most = PreferenceAttribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            let least = [
                PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                PreferenceAttribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            ];
            let room = self.workspace.as_ref().map_or(0, Memory::len);
            let found = wish(most, ptr::from_ref(&room).cast(), size_of::<usize>())
                .and_then(|()| {
                    least.into_iter().zip(product.alignments()).try_for_each(|(which, alignment)| {
                        wish(which, ptr::from_ref(&alignment).cast(), size_of::<u32>())
                    })
                })
                .and_then(|()| {
                    let matrices = [made.right.0, made.left.0, made.out.0, made.out.0];
                    self.library.fastest(self.handle.0, made.product.0, matrices, preference)
                });
            _ = (self.library.cublasLtMatmulPreferenceDestroy)(preference);
            made.algorithm = found?;
        }
        Ok(made)
    }
}

impl Plan {
    /// Sets one attribute.
    ///
    /// # Safety
    /// The value must be of the attribute's type.
    unsafe fn set<T>(&self, which: DescAttribute, value: &T) -> Result<(), Status> {
        let value: *const T = value;
        // SAFETY: the descriptor is alive as long as the plan; otherwise as the caller promises.
        done(unsafe {
            (self.library.cublasLtMatmulDescSetAttribute)(self.product.0, which, value.cast(), size_of::<T>())
        })
    }
}

impl Matrices {
    /// Whether the elements of a column are neighbours, not those of a row.
    fn is_turned(&self) -> bool {
        self.strides[1] != 1 && self.shape[1] != 1
    }

    /// From one run of neighbours to the next.
    fn leading(&self) -> usize {
        let [run, apart] = if self.is_turned() {
            [self.shape[0], self.strides[1]]
        } else {
            [self.shape[1], self.strides[0]]
        };
        apart.max(run).max(1)
    }

    fn layout(&self, library: &CublasLt, count: usize) -> Result<cublasLtMatrixLayout_t, Status> {
        let dtype = match self.dtype {
            DType::F16 => cudaDataType::CUDA_R_16F,
            DType::BF16 => cudaDataType::CUDA_R_16BF,
            DType::F64 => cudaDataType::CUDA_R_64F,
            _ => cudaDataType::CUDA_R_32F,
        };
        let [rows, columns] = self.shape.map(|size| size as u64);
        let (rows, columns) = if self.is_turned() { (rows, columns) } else { (columns, rows) };
        let layout = library.layout(dtype, rows, columns, self.leading() as i64)?;
        let (batch, apart) = (count as i32, self.apart as i64);
        // SAFETY: just made; both attributes are of these types.
        unsafe {
            let set = |which, value: *const c_void, size| {
                done((library.cublasLtMatrixLayoutSetAttribute)(layout, which, value, size))
            };
            set(
                LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                ptr::from_ref(&batch).cast(),
                size_of::<i32>(),
            )?;
            let stride = LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET;
            set(stride, ptr::from_ref(&apart).cast(), size_of::<i64>())?;
        }
        Ok(layout)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: made by `plan`, and not used again.
        unsafe {
            _ = (self.library.cublasLtMatmulDescDestroy)(self.product.0);
            for layout in [self.out, self.left, self.right] {
                _ = (self.library.cublasLtMatrixLayoutDestroy)(layout.0);
            }
        }
    }
}

/// What sums are multiplied with, in the type that they have.
enum Scale {
    Single(f32),
    Double(f64),
}

impl Scale {
    fn of(dtype: DType, value: f32) -> Scale {
        if dtype == DType::F64 { Scale::Double(value.into()) } else { Scale::Single(value) }
    }

    fn as_ptr(&self) -> *const c_void {
        match self {
            Scale::Single(value) => ptr::from_ref(value).cast(),
            Scale::Double(value) => ptr::from_ref(value).cast(),
        }
    }
}
