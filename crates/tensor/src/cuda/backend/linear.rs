//! Linear layers: a norm before, products with the parts of a weight, and what is done to their sums.

use std::sync::Arc;

use smallvec::SmallVec;

use super::matmul::{activation, matrices, plain};
use super::stream::Stream;
use super::{Gpu, of, rows};
use crate::cuda::arguments::{ACTIVATIONS, place_in};
use crate::cuda::blas::{Function, Matrices, Product};
use crate::cuda::geometry::{blocks as of_blocks, elements, sharing};
use crate::cuda::launch::launch;
use crate::ops::{LinearStep, Then};
use crate::{Activation, Backend, DType, Layout, Matrix, Quantized, Result, Tensor};

/// Vectors that meet blocks as they are stored; more of them are worth expanding the blocks for.
const FEW: usize = 8;
/// Elements of a row that a lane reads at once.
const UNIT: usize = 32;
/// On whose boundary there is what kernels read as words.
const BOUNDARY: usize = 16;

pub(super) fn linear(gpu: &Gpu, out: &Tensor, step: &LinearStep) -> Result<()> {
    let LinearStep { weight, bias, then, .. } = *step;
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let vectors = step.x.shape()[..step.x.ndim() - 1].iter().product();
    let parts = joined(weight.parts());
    if let Some(stream) = few(out, step, &parts, vectors) {
        return stream.run(gpu);
    }
    let x = match &step.norm {
        Some(norm) => rows::norm(gpu, step.x, None, norm)?,
        None => step.x.detach(),
    };
    let x = flat(&x, [vectors, inputs]);
    // Products can end with these.
    let (function, last) = match then {
        Then::Activate(Activation::Relu) => (Function::Relu, Activation::Identity),
        Then::Activate(Activation::GeluTanh) => (Function::GeluTanh, Activation::Identity),
        Then::Activate(activation) => (Function::Identity, activation),
        Then::Gate(_) | Then::Add(_) => (Function::Identity, Activation::Identity),
    };
    let add = if let Then::Add(residual) = then { Some(residual) } else { None };
    let sums = match then {
        Then::Gate(_) => gpu.fresh(&[vectors, outputs], out.dtype())?,
        _ => flat(out, [vectors, outputs]),
    };
    if sums.numel() > 0 {
        // The library adds what has the dtype of the sums.
        let bias = bias.map(|bias| bias.detach().to_dtype(sums.dtype())).transpose()?;
        let bias = bias.as_ref();
        let mut converted = Converted { x: &x, as_stored: Vec::new() };
        let mut first = 0;
        for part in &parts {
            let columns = Columns { sums: &sums, bias, add, first, count: part.shape()[0], function };
            match part {
                Matrix::Dense(tensor) => columns.of_floats(gpu, &mut converted, tensor)?,
                Matrix::Quantized(blocks) => columns.of_blocks(gpu, &mut converted, blocks)?,
            }
            first += columns.count;
        }
    }
    match then {
        Then::Gate(activation) => rows::gate(gpu, activation, out, &sums),
        _ => rows::activate(gpu, last, &sums, &sums),
    }
}

/// The whole layer as one launch, if few vectors meet one matrix of their own dtype.
fn few<'a>(out: &Tensor, step: &'a LinearStep, parts: &[Matrix], vectors: usize) -> Option<Stream<'a>> {
    let ([Matrix::Dense(part)], true) = (parts, vectors > 0) else { return None };
    let (inputs, outputs) = (step.weight.in_features(), step.weight.out_features());
    let (activation, is_gated, add) = match step.then {
        Then::Activate(activation) => (activation, false, None),
        Then::Gate(activation) => (activation, true, None),
        Then::Add(residual) => (Activation::Identity, false, Some(residual)),
    };
    let sums = flat(out, [vectors, if is_gated { outputs / 2 } else { outputs }]);
    let is_added = step.bias.is_none_or(|bias| bias.dtype() == out.dtype());
    let columns =
        Columns { sums: &sums, bias: step.bias, add, first: 0, count: outputs, function: Function::Identity };
    let product = columns.product(&flat(step.x, [vectors, inputs]), matrices(part)?);
    Stream::of(&product).filter(|_| is_added)?.behind(step.norm.as_ref())?.before(activation, is_gated)
}

/// The parts of a weight, those that lie one behind the other as one.
fn joined(parts: &[Matrix]) -> SmallVec<[Matrix; 3]> {
    let mut all: SmallVec<[Matrix; 3]> = SmallVec::new();
    for part in parts {
        let both = match (all.last(), part) {
            (Some(Matrix::Dense(before)), Matrix::Dense(part)) => together(before, part),
            _ => None,
        };
        match (both, all.last_mut()) {
            (Some(both), Some(last)) => *last = Matrix::Dense(both),
            _ => all.push(part.clone()),
        }
    }
    all
}

/// Two matrices as one, if the second begins where the first ends.
fn together(first: &Tensor, second: &Tensor) -> Option<Tensor> {
    let follows = first.layout().offset() + first.numel() == second.layout().offset()
        && Arc::ptr_eq(first.storage(), second.storage())
        && [first, second].into_iter().all(Tensor::is_contiguous)
        && (first.dtype(), first.shape()[1]) == (second.dtype(), second.shape()[1]);
    let layout = || {
        let shape = [first.shape()[0] + second.shape()[0], first.shape()[1]];
        Layout::strided(&shape, &[shape[1] as isize, 1], first.layout().offset())
    };
    follows.then(|| Tensor::over(first.storage().clone(), layout(), first.dtype()))
}

/// The elements of a contiguous tensor in another shape.
fn flat(x: &Tensor, shape: [usize; 2]) -> Tensor {
    let layout = Layout::strided(&shape, &[shape[1] as isize, 1], x.layout().offset());
    Tensor::over(x.storage().clone(), layout, x.dtype())
}

/// The rows that meet a weight, in the dtypes of its parts.
struct Converted<'a> {
    x: &'a Tensor,
    as_stored: Vec<Tensor>,
}

impl Converted<'_> {
    fn to(&mut self, dtype: DType) -> Result<Tensor> {
        if dtype == self.x.dtype() {
            return Ok(self.x.clone());
        }
        if let Some(known) = self.as_stored.iter().find(|known| known.dtype() == dtype) {
            return Ok(known.clone());
        }
        let made = self.x.to_dtype(dtype)?;
        self.as_stored.push(made.clone());
        Ok(made)
    }
}

/// Some neighbouring columns of the sums, which one part of a weight gives.
struct Columns<'a> {
    /// (vectors, outputs)
    sums: &'a Tensor,
    bias: Option<&'a Tensor>,
    add: Option<&'a Tensor>,
    first: usize,
    count: usize,
    function: Function,
}

impl Columns<'_> {
    /// Their first element in a tensor of as many columns as the sums have.
    fn in_tensor(&self, x: &Tensor) -> u64 {
        x.as_ptr() as u64 + (self.first * x.dtype().size()) as u64
    }

    fn of_floats(&self, gpu: &Gpu, x: &mut Converted, part: &Tensor) -> Result<()> {
        // What rows have of 16 bits decides, then what the weight has of them; the matrix units have no products of doubles with floats.
        let part = match (x.x.dtype(), part.dtype()) {
            (DType::F32, DType::F64) => part.detach().to_dtype(DType::F32)?,
            (DType::F32, _) => part.detach(),
            (half, _) => part.detach().to_dtype(half)?,
        };
        let part = if matrices(&part).is_some() { part } else { part.contiguous()? };
        let x = x.to(part.dtype())?;
        gpu.multiply(&self.product(&x, matrices(&part).unwrap_or_else(|| plain(&part))))
    }

    /// These columns as the product of `x` with a part of a weight as it is stored.
    fn product(&self, x: &Tensor, stored: Matrices) -> Product {
        // Turned: a weight has a row for each output.
        let [rows, columns] = stored.shape;
        let [down, across] = stored.strides;
        let out = Matrices {
            address: self.in_tensor(self.sums),
            dtype: self.sums.dtype(),
            shape: [self.sums.shape()[0], self.count],
            strides: [self.sums.shape()[1], 1],
            apart: 0,
        };
        Product {
            out,
            left: plain(x),
            right: Matrices { shape: [columns, rows], strides: [across, down], ..stored },
            count: 1,
            bias: self.bias.map(|bias| self.in_tensor(bias)),
            add: self.add.map(|add| self.in_tensor(add)),
            function: self.function,
        }
    }

    fn of_blocks(&self, gpu: &Gpu, x: &mut Converted, blocks: &Quantized) -> Result<()> {
        let (vectors, columns) = (self.sums.shape()[0], blocks.shape()[1]);
        if vectors > FEW || columns == 0 {
            return self.of_floats(gpu, x, &dequantize(gpu, blocks, None, x.x.dtype())?);
        }
        let (out, dtype) = (self.in_tensor(self.sums), self.sums.dtype());
        let macros = format!("{} FORMAT={} VECTORS={}", of(dtype), blocks.format().name(), sharing(vectors));
        let at = of_blocks(self.count, vectors, columns, gpu.processors().count);
        let x = whole(gpu, &x.to(dtype)?)?;
        let bytes = aligned(blocks)?;
        let row_bytes = bytes.shape()[1] as i64;
        let [bias, add] = [self.bias, self.add].map(|x| x.map_or(0, |x| self.in_tensor(x)));
        let function = place_in(&ACTIVATIONS, activation(self.function));
        let apart = self.sums.shape()[1] as i64;
        let (rows, columns, vectors) = (self.count as i64, columns as i32, vectors as i32);
        launch!(
            gpu,
            "quant",
            &macros,
            "gemv",
            at,
            [out, apart, &x, &bytes, bias, add, function, rows, columns, row_bytes, vectors]
        )
    }
}

/// `x` (vectors, columns) as the kernel reads it: in whole units with zeros behind the columns, on a boundary.
fn whole(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let [vectors, columns] = [x.shape()[0], x.shape()[1]];
    if columns.is_multiple_of(UNIT) && (x.as_ptr() as usize).is_multiple_of(BOUNDARY) {
        return Ok(x.clone());
    }
    let filled = gpu.fresh(&[vectors, columns.next_multiple_of(UNIT)], x.dtype())?;
    gpu.zero(&filled)?;
    gpu.assign(&filled.narrow(1, 0, columns)?, x)?;
    Ok(filled)
}

/// The bytes of a matrix, on a boundary as they always are unless they were cut out of other bytes.
fn aligned(matrix: &Quantized) -> Result<Tensor> {
    let bytes = matrix.blocks()?;
    if (bytes.as_ptr() as usize).is_multiple_of(BOUNDARY) { Ok(bytes) } else { bytes.copy() }
}

pub(super) fn dequantize(
    gpu: &Gpu,
    matrix: &Quantized,
    rows: Option<&[i64]>,
    dtype: DType,
) -> Result<Tensor> {
    let columns = matrix.shape()[1];
    let ids = rows.map(|rows| gpu.table(rows)).transpose()?;
    let count = rows.map_or(matrix.shape()[0], <[i64]>::len);
    let out = gpu.fresh(&[count, columns], dtype)?;
    let macros = format!("{} FORMAT={} VECTORS=1", of(dtype), matrix.format().name());
    let bytes = aligned(matrix)?;
    let (at, row_bytes) = (elements(out.numel(), UNIT), bytes.shape()[1] as i64);
    let (count, columns) = (count as i64, columns as i32);
    launch!(
        gpu,
        "quant",
        &macros,
        "dequantize",
        at,
        [&out, &bytes, ids.as_ref(), count, columns, row_bytes]
    )?;
    Ok(out)
}
