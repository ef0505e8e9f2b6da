//! Whatever works row by row: softmax, losses, norms, activations and gates.

use super::{Gpu, name, of};
use crate::cuda::arguments::{ACTIVATIONS, place_in};
use crate::cuda::geometry::{EACH, columns, elements, rows};
use crate::cuda::launch::launch;
use crate::ops::{Norm, ReduceOp};
use crate::{Activation, Backend, DType, Result, Tensor};

/// Rows and their width: the last dimension.
fn sizes(x: &Tensor) -> (usize, usize) {
    let width = x.shape().last().copied().unwrap_or(1);
    (x.numel() / width.max(1), width)
}

pub(super) fn softmax(gpu: &Gpu, x: &Tensor, log: bool) -> Result<Tensor> {
    let (out, (count, width)) = (gpu.fresh(x.shape(), x.dtype())?, sizes(x));
    let (at, macros) = (rows(count, width), of(x.dtype()));
    launch!(gpu, "softmax", &macros, "softmax", at, [&out, x, count as i64, width as i32, i32::from(log)])?;
    Ok(out)
}

pub(super) fn softmax_gradient(gpu: &Gpu, grad: &Tensor, y: &Tensor, log: bool) -> Result<Tensor> {
    let (out, (count, width)) = (gpu.fresh(y.shape(), y.dtype())?, sizes(y));
    let (at, macros) = (rows(count, width), of(y.dtype()));
    let (count, width, log) = (count as i64, width as i32, i32::from(log));
    launch!(gpu, "softmax", &macros, "softmax_gradient", at, [&out, grad, y, count, width, log])?;
    Ok(out)
}

pub(super) fn cross_entropy(gpu: &Gpu, x: &Tensor, classes: &Tensor, smoothing: f32) -> Result<[Tensor; 2]> {
    let (count, width) = sizes(x);
    let [loss, log_sum] = [gpu.fresh(classes.shape(), DType::F32)?, gpu.fresh(classes.shape(), DType::F32)?];
    let (at, many, wide) = (rows(count, width), count as i64, width as i32);
    launch!(gpu, "loss", "T=f32", "cross_entropy", at, [&loss, &log_sum, x, classes, many, wide, smoothing])?;
    Ok([loss, log_sum])
}

pub(super) fn cross_entropy_gradient(
    gpu: &Gpu,
    grad: &Tensor,
    x: &Tensor,
    classes: &Tensor,
    log_sum: &Tensor,
    smoothing: f32,
) -> Result<Tensor> {
    let (out, (count, width)) = (gpu.fresh(x.shape(), DType::F32)?, sizes(x));
    let (at, many, wide) = (rows(count, width), count as i64, width as i32);
    launch!(
        gpu,
        "loss",
        "T=f32",
        "cross_entropy_gradient",
        at,
        [&out, grad, x, classes, log_sum, many, wide, smoothing]
    )?;
    Ok(out)
}

/// What the norm's kernels are compiled for: the dtypes of rows and of parameters.
fn of_norm(x: &Tensor, weight: &Tensor) -> String {
    format!("{} P={}", of(x.dtype()), name(weight.dtype()))
}

pub(super) fn norm(gpu: &Gpu, x: &Tensor, residual: Option<&Tensor>, norm: &Norm) -> Result<Tensor> {
    let (out, (count, width)) = (gpu.fresh(x.shape(), x.dtype())?, sizes(x));
    let (at, many, wide) = (rows(count, width), count as i64, width as i32);
    // The sum of both is written where the result goes: each thread has read its own before it writes there.
    let sum = residual.map(|_| &out);
    match *norm {
        Norm::Layer { weight, bias, eps } => {
            let bias = bias.map(|bias| bias.detach().to_dtype(weight.dtype())).transpose()?;
            launch!(
                gpu,
                "norm",
                &of_norm(x, weight),
                "layer_norm",
                at,
                [&out, sum, x, residual, weight, bias.as_ref(), many, wide, eps]
            )?;
        }
        Norm::Rms { weight, eps } => {
            let macros = of_norm(x, weight);
            launch!(gpu, "norm", &macros, "rms_norm", at, [&out, sum, x, residual, weight, many, wide, eps])?;
        }
    }
    Ok(out)
}

/// The gradients for the rows, and with `parameters` for weight and bias.
pub(super) fn norm_gradient(
    gpu: &Gpu,
    grad: &Tensor,
    h: &Tensor,
    norm: &Norm,
    parameters: bool,
) -> Result<[Option<Tensor>; 3]> {
    let (out, (count, width)) = (gpu.fresh(h.shape(), h.dtype())?, sizes(h));
    // Of each row the mean and the inverse deviation.
    let scales = gpu.fresh(&[count, 2], DType::F32)?;
    let (at, many, wide) = (rows(count, width), count as i64, width as i32);
    let is_centred = match *norm {
        Norm::Layer { weight, eps, .. } => {
            launch!(
                gpu,
                "norm",
                &of_norm(h, weight),
                "layer_norm_gradient",
                at,
                [&out, &scales, grad, h, weight, many, wide, eps]
            )?;
            true
        }
        Norm::Rms { weight, eps } => {
            launch!(
                gpu,
                "norm",
                &of_norm(h, weight),
                "rms_norm_gradient",
                at,
                [&out, &scales, grad, h, weight, many, wide, eps]
            )?;
            false
        }
    };
    if !parameters {
        return Ok([Some(out), None, None]);
    }
    let (at, share) = columns(count, width);
    let shares = at.grid[1] as usize;
    let weights = gpu.fresh(&[shares, width], DType::F32)?;
    let biases = is_centred.then(|| gpu.fresh(&[shares, width], DType::F32)).transpose()?;
    launch!(
        gpu,
        "norm",
        &format!("{} P=f32", of(h.dtype())),
        "norm_parameter_gradients",
        at,
        [&weights, biases.as_ref(), &scales, grad, h, many, wide, share as i64]
    )?;
    let total = |sums: &Tensor| gpu.reduce(ReduceOp::Sum, sums, &[0], DType::F32);
    Ok([Some(out), Some(total(&weights)?), biases.as_ref().map(total).transpose()?])
}

/// `out = activation(x)`; both may be one.
pub(super) fn activate(gpu: &Gpu, activation: Activation, out: &Tensor, x: &Tensor) -> Result<()> {
    if activation == Activation::Identity && out.is(x) {
        return Ok(());
    }
    let (at, count, function) =
        (elements(x.numel(), EACH), x.numel() as i64, place_in(&ACTIVATIONS, activation));
    launch!(gpu, "activation", &of(x.dtype()), "activation", at, [out, x, count, function])
}

pub(super) fn gelu_gradient(gpu: &Gpu, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    let out = gpu.fresh(x.shape(), x.dtype())?;
    let function = place_in(&ACTIVATIONS, Activation::Gelu);
    let (at, count) = (elements(x.numel(), 1), x.numel() as i64);
    launch!(gpu, "activation", &of(x.dtype()), "activation_gradient", at, [&out, grad, x, count, function])?;
    Ok(out)
}

/// `out = activation(gate) * up`.
pub(super) fn gate(gpu: &Gpu, activation: Activation, out: &Tensor, x: &Tensor) -> Result<()> {
    let (count, width) = (out.numel(), sizes(out).1);
    let (at, function) = (elements(count, EACH), place_in(&ACTIVATIONS, activation));
    launch!(gpu, "activation", &of(x.dtype()), "gated", at, [out, x, count as i64, width as i32, function])
}

pub(super) fn gated(gpu: &Gpu, activation: Activation, x: &Tensor) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    if let Some(width) = shape.last_mut() {
        *width /= 2;
    }
    let out = gpu.fresh(&shape, x.dtype())?;
    gate(gpu, activation, &out, x)?;
    Ok(out)
}

pub(super) fn gated_gradient(gpu: &Gpu, activation: Activation, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    let out = gpu.fresh(x.shape(), x.dtype())?;
    let (count, width) = (grad.numel(), sizes(grad).1);
    let (at, function) = (elements(count, 1), place_in(&ACTIVATIONS, activation));
    let (count, width) = (count as i64, width as i32);
    launch!(
        gpu,
        "activation",
        &of(x.dtype()),
        "gated_gradient",
        at,
        [&out, grad, x, count, width, function]
    )?;
    Ok(out)
}
