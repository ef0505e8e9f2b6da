//! What a GPU runs: each operation as the launches of its kernels.

mod attention;
mod attention_gradient;
mod elementwise;
mod heads;
mod host;
mod index;
mod linear;
mod matmul;
mod order;
mod random;
mod reduce;
mod rows;
mod sampling;
mod scan;
mod stream;
mod update;
mod walk;

use super::arguments::class;
use super::gpu::Gpu;
use super::launch::Argument;
use crate::ops::{
    Activation, Angles, Attention, BinaryOp, Change, CompareOp, Distribution, Ids, LinearStep, Norm, Places,
    ReduceOp, Sampling, UnaryOp,
};
use crate::{Backend, DType, Device, Quantized, Result, Scalar, Tensor};

/// What kernels call `dtype`.
fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "truth",
        DType::U8 => "u8",
        DType::U16 => "u16",
        DType::U32 => "u32",
        DType::U64 => "u64",
        DType::I8 => "i8",
        DType::I16 => "i16",
        DType::I32 => "i32",
        DType::I64 => "i64",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::F64 => "f64",
        _ => "f32",
    }
}

/// The module that computes with elements of `dtype`.
fn of(dtype: DType) -> String {
    format!("T={}", name(dtype))
}

/// `value` as an argument of the type that `dtype` is computed in.
fn number(dtype: DType, value: Scalar) -> Argument {
    match class(dtype) {
        DType::F32 => (value.to_f64() as f32).into(),
        DType::F64 => value.to_f64().into(),
        DType::U64 => (value.to_i64() as u64).into(),
        _ => value.to_i64().into(),
    }
}

impl Gpu {
    /// A new contiguous tensor of this device, with anything in it.
    fn fresh(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::uninit(shape, dtype, self.device())
    }

    /// Numbers of the host's, for kernels to read.
    fn table(&self, values: &[i64]) -> Result<Tensor> {
        Tensor::from_slice(values, &[values.len()])?.to_device(self.device())
    }
}

impl Backend for Gpu {
    fn takes(&self, dtype: DType) -> bool {
        matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
    }

    fn finish(&self) -> Result<()> {
        self.synchronize()
    }

    fn zero(&self, out: &Tensor) -> Result<()> {
        self.clear(out.as_ptr() as u64, out.numel() * out.dtype().size())
    }

    fn fill(&self, out: &Tensor, value: Scalar) -> Result<()> {
        elementwise::fill(self, out, value)
    }

    fn assign(&self, out: &Tensor, x: &Tensor) -> Result<()> {
        elementwise::assign(self, out, x)
    }

    fn unary(&self, op: UnaryOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
        elementwise::unary(self, op, x, dtype)
    }

    fn binary(&self, op: BinaryOp, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
        elementwise::binary(self, op, out, x, y)
    }

    fn compare(
        &self,
        op: CompareOp,
        x: &Tensor,
        y: &Tensor,
        common: DType,
        shape: &[usize],
    ) -> Result<Tensor> {
        elementwise::compare(self, op, x, y, common, shape)
    }

    fn select(
        &self,
        condition: &Tensor,
        x: &Tensor,
        y: &Tensor,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Tensor> {
        elementwise::select(self, condition, x, y, dtype, shape)
    }

    fn reduce(&self, op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
        reduce::reduce(self, op, x, axes, dtype)
    }

    fn spread(&self, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
        reduce::spread(self, x, axes)
    }

    fn arg_extreme(&self, x: &Tensor, axes: &[usize], largest: bool) -> Result<Tensor> {
        reduce::arg_extreme(self, x, axes, largest)
    }

    fn scan(&self, op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
        scan::scan(self, op, x, dtype)
    }

    fn order(&self, x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
        order::order(self, x, count, descending)
    }

    fn take(&self, x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
        index::take(self, x, offsets, block, shape)
    }

    fn put(
        &self,
        out: &Tensor,
        offsets: &Tensor,
        block: usize,
        values: &Tensor,
        accumulate: bool,
    ) -> Result<()> {
        index::put(self, out, offsets, block, values, accumulate)
    }

    fn nonzero(&self, x: &Tensor) -> Result<Tensor> {
        scan::nonzero(self, x)
    }

    fn random(
        &self,
        distribution: Distribution,
        stream: (u64, u64),
        shape: &[usize],
        dtype: DType,
    ) -> Result<Tensor> {
        random::random(self, distribution, stream, shape, dtype)
    }

    fn sample(&self, x: &Tensor, sampling: &Sampling, stream: (u64, u64)) -> Result<Tensor> {
        sampling::sample(self, x, sampling, stream)
    }

    fn dropout(&self, x: &Tensor, p: f64, stream: (u64, u64)) -> Result<Tensor> {
        random::dropout(self, x, p, stream)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        matmul::matmul(self, a, b)
    }

    fn softmax(&self, x: &Tensor, log: bool) -> Result<Tensor> {
        rows::softmax(self, x, log)
    }

    fn softmax_gradient(&self, grad: &Tensor, y: &Tensor, log: bool) -> Result<Tensor> {
        rows::softmax_gradient(self, grad, y, log)
    }

    fn cross_entropy(&self, x: &Tensor, classes: &Tensor, smoothing: f32) -> Result<[Tensor; 2]> {
        rows::cross_entropy(self, x, classes, smoothing)
    }

    fn cross_entropy_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        classes: &Tensor,
        log_sum: &Tensor,
        smoothing: f32,
    ) -> Result<Tensor> {
        rows::cross_entropy_gradient(self, grad, x, classes, log_sum, smoothing)
    }

    fn linear(&self, out: &Tensor, step: &LinearStep) -> Result<()> {
        linear::linear(self, out, step)
    }

    fn layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
    ) -> Result<Tensor> {
        rows::norm(self, x, residual, &Norm::Layer { weight, bias, eps })
    }

    fn layer_norm_gradient(
        &self,
        grad: &Tensor,
        h: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 3]> {
        rows::norm_gradient(self, grad, h, &Norm::Layer { weight, bias: None, eps }, parameters)
    }

    fn gelu_gradient(&self, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        rows::gelu_gradient(self, grad, x)
    }

    fn gated(&self, activation: Activation, x: &Tensor) -> Result<Tensor> {
        rows::gated(self, activation, x)
    }

    fn gated_gradient(&self, activation: Activation, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
        rows::gated_gradient(self, activation, grad, x)
    }

    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
        rows::norm(self, x, None, &Norm::Rms { weight, eps })
    }

    fn rms_norm_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 2]> {
        let [x, weight, _] = rows::norm_gradient(self, grad, x, &Norm::Rms { weight, eps }, parameters)?;
        Ok([x, weight])
    }

    fn rope(&self, out: &Tensor, x: &Tensor, angles: Angles) -> Result<()> {
        heads::rope(self, out, x, angles)
    }

    fn update(&self, changes: &[Change]) -> Result<()> {
        update::update(self, changes)
    }

    fn embedding(&self, lookups: &[(&Tensor, Ids)], dtype: DType) -> Result<Tensor> {
        index::embedding(self, lookups, dtype)
    }

    fn dequantize(&self, matrix: &Quantized, rows: Option<&[i64]>) -> Result<Tensor> {
        linear::dequantize(self, matrix, rows, DType::F32)
    }

    fn scatter_rows(&self, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor> {
        index::scatter_rows(self, x, positions, total)
    }

    fn store_rows(&self, stores: [[&Tensor; 2]; 2], places: &Places) -> Result<()> {
        heads::store_rows(self, stores, None, places)
    }

    fn turn_and_store(
        &self,
        query: &Tensor,
        angles: Angles,
        stores: [[&Tensor; 2]; 2],
        places: &Places,
    ) -> Result<bool> {
        heads::store_rows(self, stores, Some((query, angles)), places)?;
        Ok(true)
    }

    fn attention(&self, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
        attention::attention(self, out, attention)
    }

    fn drops(&self) -> bool {
        true
    }

    fn attention_gradient(
        &self,
        attention: &Attention,
        grad: &Tensor,
        of_biases: bool,
    ) -> Result<Option<Vec<Tensor>>> {
        attention_gradient::attention_gradient(self, attention, grad, of_biases)
    }
}

impl Gpu {
    /// `x` for the processor.
    fn to_host(x: &Tensor) -> Result<Tensor> {
        x.detach().to_device(Device::Cpu)
    }
}
