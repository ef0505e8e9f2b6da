//! Work on many rows, shared between threads where that pays.

use rayon::prelude::*;
use trustformers_tensor::pool;

use crate::Result;

/// Below this size (bytes of text or ids) waking the threads takes longer than they save.
const WORTH_SHARING: usize = 8 * 1024;

/// Applies `work` to all items, whose sizes add up to `size`.
pub(crate) fn map<T: Sync, R: Send>(
    items: &[T],
    size: usize,
    work: impl Fn(&T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    if items.len() > 1 && size > WORTH_SHARING && allowed() {
        pool::install(|| items.par_iter().map(work).collect::<Result<_>>())?
    } else {
        items.iter().map(work).collect()
    }
}

/// Whether the user lets tokenizers use several threads.
fn allowed() -> bool {
    let setting = std::env::var("TOKENIZERS_PARALLELISM").map(|value| value.to_ascii_lowercase());
    !matches!(setting.as_deref(), Ok("" | "off" | "false" | "f" | "no" | "n" | "0"))
}
