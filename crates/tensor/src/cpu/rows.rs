//! Work on whole rows: how they are shared among threads, and moving them.

use std::mem::MaybeUninit;

use crate::{Result, Tensor, pool, team};

/// Fewer elements than this are done on the calling thread: waking another costs more.
pub(super) const PARALLEL_FROM: usize = 32 << 10;

/// No run is longer: random numbers, which take longest, are some tens of milliseconds then, and Ctrl-C is heard in between.
const LONGEST: usize = 1 << 20;

/// Splits `out` into runs of whole rows of `width` elements and gives each run, with the number of its first row, to `work`.
pub(super) fn for_each_run<T: Send>(
    out: &mut [T],
    width: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) -> Result<()> {
    if width == 0 || out.is_empty() {
        return Ok(());
    }
    for_each_run_of(out, width, width, work)
}

/// [`for_each_run`] where each row of the result takes as much work as one of `work_width` elements.
pub(crate) fn for_each_run_of<T: Send>(
    out: &mut [T],
    width: usize,
    work_width: usize,
    work: impl Fn(usize, &mut [T]) + Send + Sync,
) -> Result<()> {
    let rows = out.len() / width.max(1);
    if rows.saturating_mul(work_width) < PARALLEL_FROM {
        work(0, out);
        return Ok(());
    }
    // A few runs per thread, so that a thread that is late does not leave the others idle.
    let rows_per_run = rows.div_ceil(4 * pool::num_threads()).min(LONGEST / work_width.max(1)).max(1);
    team::for_each_chunk(out, rows_per_run * width, |run, rows| work(run * rows_per_run, rows))
}

/// See [`crate::Backend::scatter_rows`].
pub(super) fn scatter(x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor> {
    let values = x.as_slice::<f32>()?;
    let inner: usize = x.shape()[1..].iter().product();
    let mut shape = vec![total];
    shape.extend_from_slice(&x.shape()[1..]);
    Tensor::build(&shape, |out| {
        out.fill(MaybeUninit::new(0.0f32));
        for (row, &position) in positions.iter().enumerate() {
            out[position * inner..][..inner].write_copy_of_slice(&values[row * inner..][..inner]);
        }
        Ok(())
    })
}
