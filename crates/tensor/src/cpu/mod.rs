//! The processor as a [`Backend`]: one file of kernels per operation.

mod activation;
mod attention;
mod binary;
mod columns;
mod combine;
mod copy;
mod dequantize;
mod dropout;
mod dynamic8;
mod elementwise;
mod embedding;
mod extreme;
mod float16;
mod gated;
mod gemm;
mod gemv;
mod index;
mod layer_norm;
mod level;
mod linear;
mod loss;
mod math;
mod matmul;
mod norm_gradient;
mod number;
mod random;
mod reader;
mod reduce;
mod rope;
mod rows;
mod sample;
mod scan;
mod scratch;
mod simd;
mod softmax;
mod sort;
mod spread;
mod stored;
mod stream;
mod turn;
mod unary;
mod update;

use crate::ops::{
    Activation, Angles, Attention, BinaryOp, Change, CompareOp, Distribution, Ids, LinearStep, Places,
    ReduceOp, Sampling, UnaryOp,
};
use crate::{Backend, DType, Quantized, Result, Scalar, Tensor};

pub use level::{Capabilities, capabilities};

pub(crate) use dynamic8::fractions;
pub(crate) use gemm::{Packed, Pairs, Panels, Stacked};
pub(crate) use gemv::Interleaved;
pub(crate) use random::block as random_block;
pub(crate) use rows::for_each_run_of;

/// The processor.
pub(crate) struct Cpu;

impl Backend for Cpu {
    fn zero(&self, out: &Tensor) -> Result<()> {
        copy::zero(out)
    }

    fn fill(&self, out: &Tensor, value: Scalar) -> Result<()> {
        copy::fill(out, value)
    }

    fn assign(&self, out: &Tensor, x: &Tensor) -> Result<()> {
        copy::assign(out, x)
    }

    fn unary(&self, op: UnaryOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
        unary::unary(op, x, dtype)
    }

    fn binary(&self, op: BinaryOp, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
        binary::binary(op, out, x, y)
    }

    fn compare(
        &self,
        op: CompareOp,
        x: &Tensor,
        y: &Tensor,
        common: DType,
        shape: &[usize],
    ) -> Result<Tensor> {
        binary::compare(op, x, y, common, shape)
    }

    fn select(
        &self,
        condition: &Tensor,
        x: &Tensor,
        y: &Tensor,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Tensor> {
        binary::select(condition, x, y, dtype, shape)
    }

    fn reduce(&self, op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
        reduce::reduce(op, x, axes, dtype)
    }

    fn spread(&self, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
        reduce::spread(x, axes)
    }

    fn arg_extreme(&self, x: &Tensor, axes: &[usize], largest: bool) -> Result<Tensor> {
        extreme::arg_extreme(x, axes, largest)
    }

    fn scan(&self, op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
        scan::scan(op, x, dtype)
    }

    fn order(&self, x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
        sort::order(x, count, descending)
    }

    fn take(&self, x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
        index::take(x, offsets, block, shape)
    }

    fn put(
        &self,
        out: &Tensor,
        offsets: &Tensor,
        block: usize,
        values: &Tensor,
        accumulate: bool,
    ) -> Result<()> {
        index::put(out, offsets, block, values, accumulate)
    }

    fn nonzero(&self, x: &Tensor) -> Result<Tensor> {
        index::nonzero(x)
    }

    fn random(
        &self,
        distribution: Distribution,
        stream: (u64, u64),
        shape: &[usize],
        dtype: DType,
    ) -> Result<Tensor> {
        random::random(distribution, stream, shape, dtype)
    }

    fn sample(&self, x: &Tensor, sampling: &Sampling, stream: (u64, u64)) -> Result<Tensor> {
        sample::sample(x, sampling, stream)
    }

    fn dropout(&self, x: &Tensor, p: f64, stream: (u64, u64)) -> Result<Tensor> {
        dropout::dropout(x, p, stream)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        matmul::matmul(a, b)
    }

    fn softmax(&self, x: &Tensor, log: bool) -> Result<Tensor> {
        softmax::softmax(x, log)
    }

    fn softmax_gradient(&self, grad: &Tensor, y: &Tensor, log: bool) -> Result<Tensor> {
        softmax::gradient(grad, y, log)
    }

    fn cross_entropy(&self, x: &Tensor, classes: &Tensor, smoothing: f32) -> Result<[Tensor; 2]> {
        loss::cross_entropy(x, classes, smoothing)
    }

    fn cross_entropy_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        classes: &Tensor,
        log_sum: &Tensor,
        smoothing: f32,
    ) -> Result<Tensor> {
        loss::gradient(grad, x, classes, log_sum, smoothing)
    }

    fn linear(&self, out: &Tensor, step: &LinearStep) -> Result<()> {
        linear::linear(out, step)
    }

    fn layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
    ) -> Result<Tensor> {
        layer_norm::layer_norm(x, residual, weight, bias, eps)
    }

    fn layer_norm_gradient(
        &self,
        grad: &Tensor,
        h: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 3]> {
        norm_gradient::layer_norm(grad, h, weight, eps, parameters)
    }

    fn gelu_gradient(&self, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        unary::gelu_gradient(grad, x)
    }

    fn gated(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        gated::gated(activation, x)
    }

    fn gated_gradient(&self, activation: Activation, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        gated::gated_gradient(activation, grad, x)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
        layer_norm::rms_norm(x, weight, eps)
    }

    fn rms_norm_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 2]> {
        norm_gradient::rms_norm(grad, x, weight, eps, parameters)
    }

    fn rope(&self, out: &Tensor, x: &Tensor, angles: Angles) -> Result<()> {
        rope::rope(out, x, angles)
    }

    fn update(&self, changes: &[Change]) -> Result<()> {
        update::update(changes)
    }

    fn embedding(&self, lookups: &[(&Tensor, Ids)], _: DType) -> Result<Tensor> {
        embedding::embedding(lookups)
    }

    fn dequantize(&self, matrix: &Quantized, rows: Option<&[i64]>) -> Result<Tensor> {
        dequantize::dequantize(matrix, rows)
    }

    fn scatter_rows(&self, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor> {
        rows::scatter(x, positions, total)
    }

    fn store_rows(&self, stores: [[&Tensor; 2]; 2], places: &Places) -> Result<()> {
        stores.into_iter().try_for_each(|[store, x]| attention::store_rows(store, x, places.pairs()))
    }

    fn attention(&self, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
        attention::attention(out, attention)
    }
}
