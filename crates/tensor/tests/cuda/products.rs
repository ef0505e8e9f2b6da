//! Products by the emulated cuBLASLt against sums in float64.

use std::ffi::{c_int, c_void};
use std::ptr::{null, null_mut};

use trustformers_tensor::{DType, Tensor};

use crate::cu;
use crate::cuda::{self, Handle};
use crate::device::Memory;
use crate::{close, draw, numbers};

const INVALID_VALUE: c_int = 7;
const NOT_SUPPORTED: c_int = 15;

/// CUDA's numbers for types, and the computation and its type for each.
fn codes(dtype: DType) -> (c_int, c_int, c_int) {
    match dtype {
        DType::F64 => (1, 70, 1),
        DType::F16 => (2, 68, 0),
        DType::BF16 => (14, 68, 0),
        DType::I8 => (3, 72, 10),
        DType::I32 => (10, 72, 10),
        _ => (0, 68, 0),
    }
}

/// A matrix of a batch, as it lies in memory.
struct Matrix {
    memory: Memory,
    layout: Handle,
}

#[derive(Clone, Copy)]
struct Layout {
    rows: usize,
    columns: usize,
    apart: usize,
    is_row_major: bool,
    batch: usize,
}

impl Layout {
    fn elements(&self) -> usize {
        self.apart * if self.is_row_major { self.rows } else { self.columns }
    }

    fn at(&self, batch: usize, row: usize, column: usize) -> usize {
        let (across, down) = if self.is_row_major { (row, column) } else { (column, row) };
        batch * self.elements() + across * self.apart + down
    }
}

impl Matrix {
    fn new(values: &Tensor, of: Layout) -> Matrix {
        let memory = Memory::of(values);
        let mut layout = null_mut();
        let dtype = codes(values.dtype()).0;
        cu!(cublasLtMatrixLayoutCreate(
            &mut layout,
            dtype,
            of.rows as u64,
            of.columns as u64,
            of.apart as i64
        ));
        set(cuda::cublasLtMatrixLayoutSetAttribute, layout, 1, c_int::from(of.is_row_major));
        set(cuda::cublasLtMatrixLayoutSetAttribute, layout, 5, of.batch as c_int);
        set(cuda::cublasLtMatrixLayoutSetAttribute, layout, 6, of.elements() as i64);
        Matrix { memory, layout }
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        cu!(cublasLtMatrixLayoutDestroy(self.layout));
    }
}

type Set = unsafe fn(Handle, c_int, *const c_void, usize) -> c_int;

fn set<T>(by: Set, object: Handle, attribute: c_int, value: T) {
    // SAFETY: a value of so many bytes.
    assert_eq!(unsafe { by(object, attribute, (&raw const value).cast(), size_of::<T>()) }, 0, "{attribute}");
}

/// A product D = epilogue(alpha A B + beta D), of which A or B may lie turned.
struct Product {
    dtype: DType,
    out: DType,
    turned: (bool, bool),
    epilogue: u32,
    compute: c_int,
    alpha: f64,
    beta: f64,
}

impl Product {
    fn of(dtype: DType) -> Product {
        let compute = codes(dtype).1;
        Product { dtype, out: dtype, turned: (false, false), epilogue: 1, compute, alpha: 1.0, beta: 0.0 }
    }

    /// Runs it; what cuBLASLt answers.
    fn run(&self, a: &Matrix, b: &Matrix, d: &Matrix, bias: Option<&Memory>) -> c_int {
        let (mut handle, mut of) = (null_mut(), null_mut());
        cu!(cublasLtCreate(&mut handle); cublasLtMatmulDescCreate(&mut of, self.compute, codes(self.dtype).2));
        set(cuda::cublasLtMatmulDescSetAttribute, of, 3, c_int::from(self.turned.0));
        set(cuda::cublasLtMatmulDescSetAttribute, of, 4, c_int::from(self.turned.1));
        set(cuda::cublasLtMatmulDescSetAttribute, of, 7, self.epilogue);
        set(cuda::cublasLtMatmulDescSetAttribute, of, 8, bias.map_or(0, Memory::address));
        let number = |x: f64| match codes(self.dtype).2 {
            1 => x.to_le_bytes().to_vec(),
            10 => (x as i32).to_le_bytes().to_vec(),
            _ => (x as f32).to_le_bytes().to_vec(),
        };
        let (alpha, beta) = (number(self.alpha), number(self.beta));
        let (at_d, stream) = (d.memory.address(), null_mut());
        // SAFETY: as cuBLASLt declares it; it refuses matrices that do not fit.
        let answer = unsafe {
            cuda::cublasLtMatmul(
                handle,
                of,
                alpha.as_ptr().cast(),
                a.memory.address(),
                a.layout,
                b.memory.address(),
                b.layout,
                beta.as_ptr().cast(),
                at_d,
                d.layout,
                at_d,
                d.layout,
                null(),
                0,
                0,
                stream,
            )
        };
        cu!(cublasLtMatmulDescDestroy(of); cublasLtDestroy(handle));
        answer
    }
}

fn draw_for(layout: Layout, dtype: DType, seed: u64) -> Tensor {
    let range = if matches!(dtype, DType::I8 | DType::I32) { (-100.0, 100.0) } else { (-1.0, 1.0) };
    draw(&[layout.batch * layout.elements()], range, dtype, seed)
}

fn activated(epilogue: u32, x: f64) -> f64 {
    match epilogue & !4 {
        2 => x.max(0.0),
        32 => 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x * x * x)).tanh()),
        _ => x,
    }
}

fn check(p: &Product, rows: usize, depth: usize, columns: usize, batch: usize, row_major: [bool; 3]) {
    let layout = |rows: usize, columns: usize, is_turned: bool, is_row_major: bool| {
        let (rows, columns) = if is_turned { (columns, rows) } else { (rows, columns) };
        // Some room between, in whole words for the units that want them.
        let apart = (if is_row_major { columns } else { rows }) + 4;
        Layout { rows, columns, apart, is_row_major, batch }
    };
    let a = layout(rows, depth, p.turned.0, row_major[0]);
    let b = layout(depth, columns, p.turned.1, row_major[1]);
    let d = layout(rows, columns, false, row_major[2]);
    let (x, y, z) = (draw_for(a, p.dtype, 1), draw_for(b, p.dtype, 2), draw_for(d, p.out, 3));
    let bias = draw(&[rows], (-1.0, 1.0), p.out, 4);
    let (on_a, on_b, on_d) = (Matrix::new(&x, a), Matrix::new(&y, b), Matrix::new(&z, d));
    let what = format!("{} {rows} {depth} {columns} {batch} {row_major:?} {}", p.dtype, p.epilogue);
    let on_bias = (p.epilogue & 4 != 0).then(|| Memory::of(&bias));
    assert_eq!(p.run(&on_a, &on_b, &on_d, on_bias.as_ref()), 0, "{what}");
    let (x, y, mut want, bias) = (numbers(&x), numbers(&y), numbers(&z), numbers(&bias));
    let element = |values: &[f64], layout: Layout, is_turned: bool, n: usize, row: usize, column: usize| {
        values[if is_turned { layout.at(n, column, row) } else { layout.at(n, row, column) }]
    };
    for n in 0..batch {
        for i in 0..rows {
            for j in 0..columns {
                let sum: f64 = (0..depth)
                    .map(|k| element(&x, a, p.turned.0, n, i, k) * element(&y, b, p.turned.1, n, k, j))
                    .sum();
                let to = &mut want[d.at(n, i, j)];
                let bias = if p.epilogue & 4 != 0 { bias[i] } else { 0.0 };
                *to = activated(p.epilogue, p.alpha * sum + p.beta * *to + bias);
            }
        }
    }
    let want = Tensor::from_slice(&want, &[want.len()]).unwrap();
    let tolerance = match (p.out, p.compute) {
        (DType::BF16, _) => 1e-2,
        (DType::F16, _) | (_, 77) => 2e-3,
        (DType::F64 | DType::I32, _) => 1e-12,
        _ => 2e-5,
    };
    close(&what, &on_d.memory.tensor(&[want.numel()], p.out), &want, tolerance);
}

#[test]
fn of_every_type_layout_and_epilogue() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
        for turned in [(false, false), (true, false), (false, true), (true, true)] {
            check(&Product { turned, ..Product::of(dtype) }, 7, 13, 37, 1, [false; 3]);
            check(
                &Product { turned, alpha: -0.5, beta: 2.0, ..Product::of(dtype) },
                5,
                8,
                3,
                3,
                [true, false, true],
            );
        }
        check(&Product::of(dtype), 40, 70, 130, 1, [true; 3]);
        check(&Product::of(dtype), 1, 1, 1, 1, [false; 3]);
    }
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for epilogue in [2, 4, 6, 32, 36] {
            check(&Product { epilogue, ..Product::of(dtype) }, 6, 20, 33, 2, [false; 3]);
        }
    }
    for dtype in [DType::F16, DType::BF16] {
        check(&Product { out: DType::F32, ..Product::of(dtype) }, 6, 20, 33, 1, [false; 3]);
    }
    check(&Product { compute: 77, ..Product::of(DType::F32) }, 6, 20, 33, 1, [false; 3]);
    let turned = (true, false);
    check(&Product { out: DType::I32, turned, ..Product::of(DType::I8) }, 8, 16, 6, 2, [false; 3]);
}

#[test]
fn that_do_not_fit_are_refused() {
    let square = |apart| Layout { rows: 4, columns: 4, apart, is_row_major: false, batch: 1 };
    let matrix =
        |dtype, apart: usize| Matrix::new(&draw(&[4 * apart.max(4)], (0.0, 1.0), dtype, 1), square(apart));
    let f32 = || matrix(DType::F32, 4);
    let of = Product::of(DType::F32);
    assert_eq!(of.run(&f32(), &f32(), &f32(), None), 0);
    // Columns closer than they are long, and shapes that do not match.
    assert_eq!(of.run(&matrix(DType::F32, 3), &f32(), &f32(), None), INVALID_VALUE);
    let tall = Layout { rows: 5, columns: 4, apart: 5, is_row_major: false, batch: 1 };
    let tall = Matrix::new(&draw(&[20], (0.0, 1.0), DType::F32, 1), tall);
    assert_eq!(of.run(&f32(), &tall, &f32(), None), INVALID_VALUE);
    // Memory that ends before the matrix does.
    let mut short = f32();
    short.memory = Memory::new(60);
    assert_eq!(of.run(&short, &f32(), &f32(), None), INVALID_VALUE);
    assert_eq!(of.run(&matrix(DType::F16, 4), &f32(), &f32(), None), NOT_SUPPORTED);
    assert_eq!(
        Product { out: DType::I32, ..Product::of(DType::I8) }.run(
            &matrix(DType::I8, 4),
            &matrix(DType::I8, 4),
            &matrix(DType::I32, 4),
            None
        ),
        NOT_SUPPORTED
    );
}
