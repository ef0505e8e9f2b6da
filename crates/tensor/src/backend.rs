//! What a device must be able to run.

use crate::ops::{
    Activation, Angles, Attention, BinaryOp, Change, CompareOp, Distribution, Ids, LinearStep, Places,
    ReduceOp, Sampling, UnaryOp,
};
use crate::{DType, Quantized, Result, Scalar, Tensor};

/// A device: each method is a whole fused step. [`crate::ops`] has checked shapes and dtypes before any of them is called, so an
/// implementation holds kernels only. A new device is one folder that implements this.
///
/// Operands may have any strides and any real dtype unless a method says otherwise; results are contiguous. Gradients, versions and
/// broadcasting of shapes are not a device's business.
///
/// Activations are tensors of one dtype that the device takes for them ([`Backend::takes`]), and so is what is made of them; sums are float32 in
/// any case. Parameters beside them, norms' and biases, are of any such dtype.
pub trait Backend: Send + Sync {
    /// Whether activations may be of `dtype`. Float32 they may be everywhere.
    fn takes(&self, dtype: DType) -> bool {
        dtype == DType::F32
    }

    /// Waits until all that was asked of the device is done, for one that goes on with that by itself.
    fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Zeroes the contiguous `out`, of any dtype.
    fn zero(&self, out: &Tensor) -> Result<()>;

    /// Writes `value` to the one element of `out`.
    fn fill(&self, out: &Tensor, value: Scalar) -> Result<()>;

    /// Writes `x`, broadcast and converted, over the elements of `out`; in other memory than `x`. Complex ones are copied only.
    fn assign(&self, out: &Tensor, x: &Tensor) -> Result<()>;

    /// `op(x)`, computed as and returned as `dtype`.
    fn unary(&self, op: UnaryOp, x: &Tensor, dtype: DType) -> Result<Tensor>;

    /// `out = op(x, y)`, both broadcast, computed in the dtype of `out`, which may be `x` or `y` itself.
    fn binary(&self, op: BinaryOp, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()>;

    /// Whether `op(x, y)` holds, both broadcast to `shape` and compared as `common`.
    fn compare(
        &self,
        op: CompareOp,
        x: &Tensor,
        y: &Tensor,
        common: DType,
        shape: &[usize],
    ) -> Result<Tensor>;

    /// `x` where `condition` (bools) holds, else `y`, all broadcast to `shape`, as `dtype`.
    fn select(
        &self,
        condition: &Tensor,
        x: &Tensor,
        y: &Tensor,
        dtype: DType,
        shape: &[usize],
    ) -> Result<Tensor>;

    /// `x` reduced over `axes` (ascending), which go away, computed and returned as `dtype`.
    fn reduce(&self, op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor>;

    /// The sums over `axes` (ascending), which go away, of the squared distances of the floats of `x` from their mean, as its dtype.
    fn spread(&self, x: &Tensor, axes: &[usize]) -> Result<Tensor>;

    /// Where among its elements over `axes` (ascending), which go away, counted in C order, `x` has the first largest or smallest; NaN
    /// is both. There is at least one. int64.
    fn arg_extreme(&self, x: &Tensor, axes: &[usize], largest: bool) -> Result<Tensor>;

    /// The running sum or product of `x` along its last dimension, as `dtype`.
    fn scan(&self, op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor>;

    /// The positions of the first `count` elements in order along the last dimension of `x`: equal ones in the order in which they
    /// are, NaN as the largest. int64.
    fn order(&self, x: &Tensor, count: usize, descending: bool) -> Result<Tensor>;

    /// Blocks of `block` neighbouring elements of `x`, each `offsets` (contiguous int64) from its first, in `shape`. All are inside.
    fn take(&self, x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor>;

    /// Writes the blocks of `values` (contiguous, in other memory, of the dtype of `out`) to `offsets` in `out`, or adds them there.
    fn put(
        &self,
        out: &Tensor,
        offsets: &Tensor,
        block: usize,
        values: &Tensor,
        accumulate: bool,
    ) -> Result<()>;

    /// The positions where `x` (bools) holds: (count, dimensions) int64.
    fn nonzero(&self, x: &Tensor) -> Result<Tensor>;

    /// Random numbers from block `stream.1` of the stream of seed `stream.0` on, two to a block.
    fn random(
        &self,
        distribution: Distribution,
        stream: (u64, u64),
        shape: &[usize],
        dtype: DType,
    ) -> Result<Tensor>;

    /// For each row of the contiguous float32 logits `x` a token drawn from what `sampling` leaves, by the first number of block `stream.1` plus
    /// the row's number of the stream of seed `stream.0`; -1 where there is no distribution. See [`Tensor::sample`].
    fn sample(&self, x: &Tensor, sampling: &Sampling, stream: (u64, u64)) -> Result<Tensor>;

    /// The elements of the contiguous floats `x`, each zero with probability `p` and else divided by `1 - p`. Groups of 64 elements take 16
    /// blocks each of the stream of seed `stream.0`, from block `stream.1` on: element `i` of a group is zero where word `i / 16` of block
    /// `i % 16`, 32 bits of it, is below `p`.
    fn dropout(&self, x: &Tensor, p: f64, stream: (u64, u64)) -> Result<Tensor>;

    /// The products of the matrices in the last two dimensions; both of one real dtype and with the same leading dimensions.
    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor>;

    /// Softmax, or its logarithm, over the last dimension of the contiguous float32 or float64 `x`.
    fn softmax(&self, x: &Tensor, log: bool) -> Result<Tensor>;

    /// The gradient of [`Backend::softmax`] from `grad`, that of its result `y`; both contiguous and of one dtype.
    fn softmax_gradient(&self, grad: &Tensor, y: &Tensor, log: bool) -> Result<Tensor>;

    /// The cross entropy of each row of the contiguous float32 `x` with its class (contiguous int64, in range; -1 for a row that counts
    /// for nothing), and the logarithm of its sum of exponentials: float32. See [`Tensor::cross_entropy`].
    fn cross_entropy(&self, x: &Tensor, classes: &Tensor, smoothing: f32) -> Result<[Tensor; 2]>;

    /// The gradient of [`Backend::cross_entropy`] from `grad`, that of each row's loss, and the row's `log_sum`; all contiguous.
    fn cross_entropy_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        classes: &Tensor,
        log_sum: &Tensor,
        smoothing: f32,
    ) -> Result<Tensor>;

    /// The result of `step`, written to `out`, which has its shape, in memory of its own; everything contiguous but the weight. Activations,
    /// but `out` and what is added may be float32 beside other `x`. See [`LinearStep`].
    fn linear(&self, out: &Tensor, step: &LinearStep) -> Result<()>;

    /// Normalises `x (+ residual)`, contiguous activations, over its last dimension, then scales and shifts it.
    fn layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
    ) -> Result<Tensor>;

    /// The gradients of [`Backend::layer_norm`] for `h = x (+ residual)` and, with `parameters`, weight and bias, these as float32, from
    /// `grad`, that of its result; all contiguous activations.
    fn layer_norm_gradient(
        &self,
        grad: &Tensor,
        h: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 3]>;

    /// `grad` times the derivative of GELU at `x`; both contiguous activations of one shape.
    fn gelu_gradient(&self, grad: &Tensor, x: &Tensor) -> Result<Tensor>;

    /// `activation(gate) * up`, where each row of the contiguous activations `x` is gate and up, of one width. See [`crate::ops::gated`].
    fn gated(&self, activation: Activation, x: &Tensor) -> Result<Tensor>;

    /// The gradient of [`Backend::gated`] from `grad`, that of its result; both contiguous activations.
    fn gated_gradient(&self, activation: Activation, grad: &Tensor, x: &Tensor) -> Result<Tensor>;

    /// Divides each row of the contiguous activations `x` by its root mean square and scales it.
    fn rms_norm(&self, x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor>;

    /// The gradients of [`Backend::rms_norm`] for `x` and, with `parameters`, the weight, this as float32, from `grad`, that of its result;
    /// all contiguous activations.
    fn rms_norm_gradient(
        &self,
        grad: &Tensor,
        x: &Tensor,
        weight: &Tensor,
        eps: f32,
        parameters: bool,
    ) -> Result<[Option<Tensor>; 2]>;

    /// Turns pairs of elements of `x` by the angles of their row; see [`crate::ops::rope`]. Activations beside float32, or all float64; cosines
    /// and sines contiguous, `x` and `out`, which may be one, of any strides but 1 along their last dimension.
    fn rope(&self, out: &Tensor, x: &Tensor, angles: Angles) -> Result<()>;

    /// One step of an optimizer, in place in all but the gradients, which share no memory with what is changed; all are contiguous, those of
    /// one parameter of one shape. See [`crate::ops::update`].
    fn update(&self, changes: &[Change]) -> Result<()>;

    /// For every position the sum, over the lookups, of the row that its id names: (positions, width) activations of `dtype`. Ids that the
    /// processor has are in range; the others are on the device, and zeros stand for those that are not.
    fn embedding(&self, lookups: &[(&Tensor, Ids)], dtype: DType) -> Result<Tensor>;

    /// The rows of `matrix` that `rows` name, or all of them, as numbers: (rows, columns) float32. All are in range.
    fn dequantize(&self, matrix: &Quantized, rows: Option<&[i64]>) -> Result<Tensor>;

    /// The activations `x` (rows, ..) spread over (total, ..): row `i` goes to `positions[i]`, all others are zero. Positions are in range.
    fn scatter_rows(&self, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor>;

    /// Writes to each contiguous store the rows of activations beside it, 1 apart along their last dimension: keys, and values of as many
    /// heads, which are kept alike. See [`crate::ops::store_rows`].
    fn store_rows(&self, stores: [[&Tensor; 2]; 2], places: &Places) -> Result<()>;

    /// [`Backend::rope`] of activations `query` and of the keys in place, and then [`Backend::store_rows`], whose `places` name each row once; all of one
    /// dtype. Whether that is done, which it is not where there is no kernel for it.
    fn turn_and_store(
        &self,
        _query: &Tensor,
        _angles: Angles,
        _stores: [[&Tensor; 2]; 2],
        _places: &Places,
    ) -> Result<bool> {
        Ok(false)
    }

    /// Scaled dot-product attention within each sequence of a ragged batch. The context is written to `out` (rows, heads * value_dim),
    /// contiguous and of the dtype of the queries; the probabilities are returned if they are asked for. See [`Attention`].
    fn attention(&self, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>>;

    /// Whether [`Backend::attention`] drops probabilities, those that are dropped by [`Backend::dropout`] sequence by sequence.
    fn drops(&self) -> bool {
        false
    }

    /// The gradients of queries, keys and values for the gradient `grad` (rows, heads * value_dim) of the context, contiguous and of the dtype of all
    /// others, as which they come out; if `of_biases`, then for each sequence that of its bias, float32 (heads, rows, keys). Nothing where there is no
    /// kernel for that.
    fn attention_gradient(
        &self,
        _attention: &Attention,
        _grad: &Tensor,
        _of_biases: bool,
    ) -> Result<Option<Vec<Tensor>>> {
        Ok(None)
    }
}
