//! A device whose operations are measured.

use smallvec::SmallVec;

use super::{Kind, Scope, Work, here};
use crate::ops::{
    Activation, Angles, Attention, BinaryOp, Change, CompareOp, Distribution, Ids, Kept, LinearStep, Places,
    ReduceOp, Sampling, Then, UnaryOp,
};
use crate::{Backend, DType, Matrix, Quantized, Result, Scalar, Shape, Tensor};

/// Does what the device does, and notes what that was.
pub(crate) struct Profiled<B: 'static>(pub &'static B);

/// The bytes of the elements.
fn bytes(tensor: &Tensor) -> u64 {
    (tensor.numel() * tensor.dtype().size()) as u64
}

/// What comes out of an operation.
trait Results {
    /// The bytes of what is new.
    fn bytes(&self) -> u64;
}

impl Results for () {
    fn bytes(&self) -> u64 {
        0
    }
}

impl Results for Tensor {
    fn bytes(&self) -> u64 {
        bytes(self)
    }
}

impl<T: Results> Results for Option<T> {
    fn bytes(&self) -> u64 {
        self.as_ref().map_or(0, Results::bytes)
    }
}

impl<T: Results, const N: usize> Results for [T; N] {
    fn bytes(&self) -> u64 {
        self.iter().map(Results::bytes).sum()
    }
}

impl<T: Results> Results for Vec<T> {
    fn bytes(&self) -> u64 {
        self.iter().map(Results::bytes).sum()
    }
}

/// What `run` asks of `device`, until it is done.
fn measured<T: Results>(
    device: &dyn Backend,
    name: &'static str,
    work: Work,
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut scope = Scope::begin(Kind::Operation, name, here(), work);
    let results = run()?;
    device.finish()?;
    scope.add_bytes(results.bytes());
    Ok(results)
}

/// An operation that reads or writes each of the tensors once.
fn passing<T: Results>(
    device: &dyn Backend,
    name: &'static str,
    tensors: &[&Tensor],
    run: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let shapes = tensors.iter().map(|tensor| tensor.shape().into()).collect();
    let bytes = tensors.iter().map(|tensor| bytes(tensor)).sum();
    measured(device, name, Work { shapes, flops: 0, bytes }, run)
}

/// `x @ weightᵀ`, and what stands before and behind it.
fn work_of_linear(out: &Tensor, step: &LinearStep) -> Work {
    let LinearStep { x, weight, bias, then, .. } = *step;
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let rows = x.numel() / inputs.max(1);
    let added = if let Then::Add(residual) = then { Some(residual) } else { None };
    let others = [Some(x), Some(out), bias, added].into_iter().flatten().map(bytes);
    let matrices = weight.parts().iter().map(Matrix::memory).map(bytes);
    Work {
        shapes: [x.shape().into(), [outputs, inputs].into_iter().collect()].into_iter().collect(),
        flops: 2 * (rows * inputs * outputs) as u64,
        bytes: others.chain(matrices).sum(),
    }
}

fn work_of_matmul(a: &Tensor, b: &Tensor) -> Work {
    let shapes = [a, b].map(|tensor| tensor.shape().into()).into_iter().collect();
    let columns = b.shape().last().copied().unwrap_or(1);
    Work { shapes, flops: 2 * (a.numel() * columns) as u64, bytes: bytes(a) + bytes(b) }
}

/// Both products, of what each row may see.
fn work_of_attention(out: &Tensor, attention: &Attention) -> Work {
    let Attention { query, key, value, ragged, mask, .. } = *attention;
    let tensors = [query, key, value];
    let sequences = ragged.sequences().iter();
    let seen = sequences.clone().map(|s| (0..s.rows).map(|row| mask.visible(s, row).len()).sum::<usize>());
    let width = |tensor: &Tensor| tensor.numel() / tensor.shape()[0].max(1);
    // Queries and results of all heads are as wide as a pair's products are many.
    let flops = 2 * seen.sum::<usize>() * (width(query) + width(out));
    // Of a store, only what is looked at.
    let keys: usize = sequences.map(|s| s.keys).sum();
    let stored = [key, value].map(|store| (keys * width(store) * store.dtype().size()) as u64);
    Work {
        shapes: tensors.iter().map(|tensor| tensor.shape().into()).collect(),
        flops: flops as u64,
        bytes: bytes(query) + bytes(out) + stored.iter().sum::<u64>(),
    }
}

impl<B: Backend> Backend for Profiled<B> {
    fn takes(&self, dtype: DType) -> bool {
        self.0.takes(dtype)
    }

    fn finish(&self) -> Result<()> {
        self.0.finish()
    }

    fn zero(&self, out: &Tensor) -> Result<()> {
        passing(self.0, "zero_", &[out], || self.0.zero(out))
    }

    fn fill(&self, out: &Tensor, value: Scalar) -> Result<()> {
        passing(self.0, "fill_", &[out], || self.0.fill(out, value))
    }

    fn assign(&self, out: &Tensor, x: &Tensor) -> Result<()> {
        passing(self.0, "copy_", &[out, x], || self.0.assign(out, x))
    }

    fn unary(&self, op: UnaryOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
        passing(self.0, op.name(), &[x], || self.0.unary(op, x, dtype))
    }

    fn binary(&self, op: BinaryOp, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
        passing(self.0, op.name(), &[out, x, y], || self.0.binary(op, out, x, y))
    }

    fn compare(
        &self,
        op: CompareOp,
        x: &Tensor,
        y: &Tensor,
        common: DType,
        shape: &[usize],
    ) -> Result<Tensor> {
        passing(self.0, op.name(), &[x, y], || self.0.compare(op, x, y, common, shape))
    }

    fn select(
        &self,
        condition: &Tensor,
        x: &Tensor,
        y: &Tensor,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Tensor> {
        passing(self.0, "where", &[condition, x, y], || self.0.select(condition, x, y, dtype, shape))
    }

    fn reduce(&self, op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
        passing(self.0, op.name(), &[x], || self.0.reduce(op, x, axes, dtype))
    }

    fn spread(&self, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
        passing(self.0, "var", &[x], || self.0.spread(x, axes))
    }

    fn arg_extreme(&self, x: &Tensor, axes: &[usize], largest: bool) -> Result<Tensor> {
        let name = if largest { "argmax" } else { "argmin" };
        passing(self.0, name, &[x], || self.0.arg_extreme(x, axes, largest))
    }

    fn scan(&self, op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
        let name = if op == ReduceOp::Prod { "cumprod" } else { "cumsum" };
        passing(self.0, name, &[x], || self.0.scan(op, x, dtype))
    }

    fn order(&self, x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
        passing(self.0, "argsort", &[x], || self.0.order(x, count, descending))
    }

    fn take(&self, x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
        let mut work =
            Work { shapes: SmallVec::from_iter([Shape::from_slice(x.shape())]), ..Work::default() };
        // As much is read as comes out.
        work.bytes = bytes(offsets) + (offsets.numel() * block * x.dtype().size()) as u64;
        measured(self.0, "take", work, || self.0.take(x, offsets, block, shape))
    }

    fn put(
        &self,
        out: &Tensor,
        offsets: &Tensor,
        block: usize,
        values: &Tensor,
        accumulate: bool,
    ) -> Result<()> {
        passing(self.0, "put_", &[offsets, values], || self.0.put(out, offsets, block, values, accumulate))
    }

    fn nonzero(&self, x: &Tensor) -> Result<Tensor> {
        passing(self.0, "nonzero", &[x], || self.0.nonzero(x))
    }

    fn random(
        &self,
        distribution: Distribution,
        stream: (u64, u64),
        shape: &[usize],
        dtype: DType,
    ) -> Result<Tensor> {
        passing(self.0, "random", &[], || self.0.random(distribution, stream, shape, dtype))
    }

    fn sample(&self, x: &Tensor, sampling: &Sampling, stream: (u64, u64)) -> Result<Tensor> {
        passing(self.0, "sample", &[x], || self.0.sample(x, sampling, stream))
    }

    fn dropout(&self, x: &Tensor, p: f64, stream: (u64, u64)) -> Result<Tensor> {
        passing(self.0, "dropout", &[x], || self.0.dropout(x, p, stream))
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        measured(self.0, "matmul", work_of_matmul(a, b), || self.0.matmul(a, b))
    }

    fn softmax(&self, x: &Tensor, log: bool) -> Result<Tensor> {
        passing(self.0, if log { "log_softmax" } else { "softmax" }, &[x], || self.0.softmax(x, log))
    }

    fn softmax_gradient(&self, grad: &Tensor, y: &Tensor, log: bool) -> Result<Tensor> {
        let name = if log { "log_softmax_gradient" } else { "softmax_gradient" };
        passing(self.0, name, &[grad, y], || self.0.softmax_gradient(grad, y, log))
    }

    fn cross_entropy(&self, x: &Tensor, classes: &Tensor, smoothing: f32) -> Result<[Tensor; 2]> {
        passing(self.0, "cross_entropy", &[x, classes], || self.0.cross_entropy(x, classes, smoothing))
    }

    fn cross_entropy_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        classes: &Tensor,
        log_sum: &Tensor,
        smoothing: f32,
    ) -> Result<Tensor> {
        passing(self.0, "cross_entropy_gradient", &[grad, x, classes, log_sum], || {
            self.0.cross_entropy_gradient(grad, x, classes, log_sum, smoothing)
        })
    }

    fn linear(&self, out: &Tensor, step: &LinearStep) -> Result<()> {
        measured(self.0, "linear", work_of_linear(out, step), || self.0.linear(out, step))
    }

    fn layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
    ) -> Result<Tensor> {
        let tensors: SmallVec<[&Tensor; 4]> =
            [Some(x), residual, Some(weight), bias].into_iter().flatten().collect();
        passing(self.0, "layer_norm", &tensors, || self.0.layer_norm(x, residual, weight, bias, eps))
    }

    fn layer_norm_gradient(
        &self,
        grad: &Tensor,
        h: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 3]> {
        passing(self.0, "layer_norm_gradient", &[grad, h, weight], || {
            self.0.layer_norm_gradient(grad, h, weight, eps, parameters)
        })
    }

    fn gelu_gradient(&self, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        passing(self.0, "gelu_gradient", &[grad, x], || self.0.gelu_gradient(grad, x))
    }

    fn gated(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        passing(self.0, "gated", &[x], || self.0.gated(activation, x))
    }

    fn gated_gradient(&self, activation: Activation, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        passing(self.0, "gated_gradient", &[grad, x], || self.0.gated_gradient(activation, grad, x))
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
        passing(self.0, "rms_norm", &[x, weight], || self.0.rms_norm(x, weight, eps))
    }

    fn rms_norm_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 2]> {
        passing(self.0, "rms_norm_gradient", &[grad, x, weight], || {
            self.0.rms_norm_gradient(grad, x, weight, eps, parameters)
        })
    }

    fn rope(&self, out: &Tensor, x: &Tensor, angles: Angles) -> Result<()> {
        passing(self.0, "rope", &[out, x, angles.cos, angles.sin], || self.0.rope(out, x, angles))
    }

    fn update(&self, changes: &[Change]) -> Result<()> {
        let name = changes.first().map_or("update", |change| change.update.name());
        let tensors = changes.iter().flat_map(|Change { parameter, grad, states, .. }| {
            [*parameter, *grad].into_iter().chain(states.iter().flat_map(Kept::tensors))
        });
        let elements = changes.iter().map(|change| change.parameter.numel()).sum();
        let shapes = SmallVec::from_iter([Shape::from_slice(&[elements])]);
        let work = Work { shapes, flops: 0, bytes: tensors.map(bytes).sum() };
        measured(self.0, name, work, || self.0.update(changes))
    }

    fn embedding(&self, lookups: &[(&Tensor, Ids)], dtype: DType) -> Result<Tensor> {
        let row = |table: &Tensor| table.shape().last().map_or(0, |width| width * table.dtype().size());
        let read = lookups.iter().map(|(table, ids)| (ids.len() * (row(table) + size_of::<i64>())) as u64);
        let shapes = lookups.iter().map(|(table, _)| table.shape().into()).collect();
        measured(self.0, "embedding", Work { shapes, flops: 0, bytes: read.sum() }, || {
            self.0.embedding(lookups, dtype)
        })
    }

    fn dequantize(&self, matrix: &Quantized, rows: Option<&[i64]>) -> Result<Tensor> {
        let (count, all) = (rows.map_or(matrix.shape()[0], <[i64]>::len), matrix.shape()[0].max(1));
        let bytes = bytes(matrix.memory()) / all as u64 * count as u64;
        let work = Work { shapes: SmallVec::from_iter([Shape::from_slice(matrix.shape())]), flops: 0, bytes };
        measured(self.0, "dequantize", work, || self.0.dequantize(matrix, rows))
    }

    fn scatter_rows(&self, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor> {
        passing(self.0, "scatter_rows", &[x], || self.0.scatter_rows(x, positions, total))
    }

    fn store_rows(&self, stores: [[&Tensor; 2]; 2], places: &Places) -> Result<()> {
        let rows = stores.map(|[_, x]| x);
        passing(self.0, "store_rows", &rows, || self.0.store_rows(stores, places))
    }

    fn attention(&self, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
        measured(self.0, "attention", work_of_attention(out, attention), || self.0.attention(out, attention))
    }
}
