//! What kernels take besides tensors: the structs, numbers and lists that their sources have too.

use super::geometry::RUN;
use crate::ops::{Sampling, Update};
use crate::{Activation, DType, Mask};

/// The activations in the order of the kernels.
pub const ACTIVATIONS: [Activation; 9] = [
    Activation::Identity,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::QuickGelu,
    Activation::Relu,
    Activation::ReluSquared,
    Activation::Silu,
    Activation::Sigmoid,
    Activation::Tanh,
];

/// What kernels call `dtype`: its place in their list.
pub fn code(dtype: DType) -> i32 {
    place_in(DType::ALL, dtype)
}

/// What kernels call one of a list that they have in the same order.
pub fn place_in<T: PartialEq>(all: &[T], one: T) -> i32 {
    all.iter().position(|other| *other == one).unwrap_or_default() as i32
}

/// What elements of `dtype` are computed in.
pub fn class(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 => DType::F32,
        DType::F64 | DType::U64 => dtype,
        _ => DType::I64,
    }
}

/// What kernels of sampling call Rows: logits, what is to be left of them, and where they keep what they find.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rows {
    logits: u64,
    count: i64,
    width: i32,
    run: i32,
    pub rounds: i32,
    temperature: f32,
    top_k: i32,
    top_p: f32,
    min_p: f32,
    unused: u32,
    weights: u64,
    largest: u64,
    bounds: u64,
    kept: u64,
}

impl Rows {
    /// `count` rows of `width` logits from an address on.
    pub fn new(logits: u64, count: usize, width: usize, sampling: &Sampling) -> Rows {
        /// Rounds for each of top-k and top-p.
        const ROUNDS: i32 = 4;
        let Sampling { temperature, top_k, top_p, min_p } = *sampling;
        let rounds = ROUNDS * (i32::from((1..width).contains(&top_k)) + i32::from(top_p < 1.0));
        let (count, width, run) = (count as i64, width as i32, RUN as i32);
        let top_k = i32::try_from(top_k).unwrap_or(i32::MAX);
        let [weights, largest, bounds, kept] = [0; 4];
        Rows {
            logits,
            count,
            width,
            run,
            rounds,
            temperature,
            top_k,
            top_p,
            min_p,
            unused: 0,
            weights,
            largest,
            bounds,
            kept,
        }
    }

    /// How many numbers of 64 bits are found: those that begin as zeros, and the others.
    pub fn found(&self) -> [usize; 2] {
        let (rows, rounds) = (self.count as usize, self.rounds as usize);
        [rows * (256 * rounds + 1), rows * (2 * rounds + (self.width as usize).div_ceil(RUN))]
    }

    /// The same with so much memory for them.
    pub fn with(self, zeros: u64, others: u64) -> Rows {
        let rounds = self.count as u64 * self.rounds as u64;
        Rows {
            weights: zeros,
            largest: zeros + 8 * 256 * rounds,
            bounds: others,
            kept: others + 16 * rounds,
            ..self
        }
    }
}

/// The most dimensions that kernels walk.
pub const MAX_DIMS: usize = 8;

/// What kernels call a Walk: a shape, and the strides with which tensors cover it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Walk<const N: usize> {
    pub count: i64,
    dims: i64,
    shape: [i64; MAX_DIMS],
    strides: [[i64; MAX_DIMS]; N],
}

impl<const N: usize> Walk<N> {
    /// A shape of at most as many dimensions as kernels walk.
    pub fn of(shape: &[usize], strides: [&[isize]; N]) -> Walk<N> {
        let mut walk = Walk {
            count: shape.iter().product::<usize>() as i64,
            dims: shape.len() as i64,
            shape: [0; MAX_DIMS],
            strides: [[0; MAX_DIMS]; N],
        };
        walk.shape.iter_mut().zip(shape).for_each(|(to, &size)| *to = size as i64);
        for (to, from) in walk.strides.iter_mut().zip(strides) {
            to.iter_mut().zip(from).for_each(|(to, &stride)| *to = stride as i64);
        }
        walk
    }
}

/// What kernels call an Attention.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Shared {
    /// Of queries, keys and values: from one row to the next, and from one head to the next.
    pub strides: [i64; 6],
    /// Heads of queries that share one of keys.
    pub group: i64,
    pub back: i64,
    pub ahead: i64,
    pub scale: f32,
    /// 0 where there is none.
    pub softcap: f32,
}

/// What kernels call a Dropped. A limit of 0 drops nothing.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Dropped {
    /// The first block of each sequence.
    pub from: u64,
    pub seed: u64,
    pub limit: u32,
    pub scale: f32,
}

/// What kernels call an Angles. Null where nothing is turned.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Angles {
    pub cos: u64,
    pub sin: u64,
    pub pairs: i32,
    pub interleaved: i32,
}

/// What kernels call a Part: queries, keys or values, and where they are kept, if they are.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Part {
    pub store: u64,
    pub x: u64,
    /// From one row to the next, and from one head to the next.
    pub strides: [i64; 2],
    pub heads: i32,
    pub dim: i32,
}

/// Farther than any text is long.
const FAR: i64 = 1 << 40;

/// How far a row sees back from its own key, and how far ahead, its own included.
pub fn reach(mask: Mask) -> (i64, i64) {
    match (mask.causal, mask.window.map(|window| i64::try_from(window).unwrap_or(FAR).min(FAR))) {
        (false, None) => (FAR, FAR),
        (true, None) => (FAR, 1),
        (true, Some(window)) => ((window - 1).max(0), window.min(1)),
        (false, Some(window)) => (window, window + 1),
    }
}

/// What kernels call a Rule: the method, then rate, kept, added, first, second, eps and correction.
pub fn rule(update: &Update) -> (i64, [f64; 7]) {
    match *update {
        Update::Adam { lr, betas: (b1, b2), eps, weight_decay, decoupled, step } => {
            let correction = (1.0 - b2.powf(step as f64)).sqrt();
            let rate = lr / (1.0 - b1.powf(step as f64));
            let (kept, added) = if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
            (0, [rate, kept, added, b1, b2, eps, correction])
        }
        Update::Sgd { lr, momentum, dampening, nesterov, weight_decay, first } => {
            let (kept, given) = if first { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
            let alone = f64::from(u8::from(momentum == 0.0));
            (1, [lr, 1.0, weight_decay, kept, given, alone, if nesterov { momentum } else { 0.0 }])
        }
        Update::Lion { lr, betas: (b1, b2), weight_decay } => {
            (2, [lr, 1.0 - lr * weight_decay, 0.0, b1, b2, 0.0, 0.0])
        }
        Update::Adagrad { lr, eps, weight_decay } => (3, [lr, 1.0, weight_decay, 0.0, 0.0, eps, 0.0]),
        Update::RmsProp { lr, alpha, eps, weight_decay } => {
            (4, [lr, 1.0, weight_decay, alpha, 0.0, eps, 0.0])
        }
    }
}
