//! How many threads compute, and a rayon pool of as many for what is written with its iterators, such as tokenization; operations have
//! their team.
//!
//! Not rayon's global pool, which cannot be rebuilt after `fork` and would hang the child. Ours is built on first use and belongs to
//! the process that built it; a forked child builds its own and leaves the dead one alone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::{env, process, ptr, thread};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Error, Result};

struct Pool {
    process: u32,
    threads: ThreadPool,
}

/// The current pool. Pools are leaked when replaced: a running operation may still be in one.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(ptr::null_mut());
/// What `set_num_threads` asked for; 0 for nothing.
static REQUESTED: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` with rayon's parallel iterators bound to our pool.
pub fn install<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    if rayon::current_thread_index().is_some() {
        return Ok(work());
    }
    Ok(current()?.threads.install(work))
}

/// How many threads compute: what [`set_num_threads`] said, else TRUSTFORMERS_NUM_THREADS, else OMP_NUM_THREADS, else the processors
/// that affinity and cgroups leave to this process.
pub fn num_threads() -> usize {
    let requested = REQUESTED.load(Ordering::Relaxed);
    if requested != 0 {
        return requested;
    }
    // Asked once: reading the environment takes longer than adding up a short row.
    static FROM_ENVIRONMENT: OnceLock<usize> = OnceLock::new();
    *FROM_ENVIRONMENT.get_or_init(|| {
        let from_env = |name| env::var(name).ok()?.trim().parse().ok().filter(|&n: &usize| n > 0);
        from_env("TRUSTFORMERS_NUM_THREADS")
            .or_else(|| from_env("OMP_NUM_THREADS"))
            .or_else(|| thread::available_parallelism().ok().map(usize::from))
            .unwrap_or(1)
    })
}

/// Sets how many threads compute from the next operation on. Zero is refused.
pub fn set_num_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Err(Error::argument("set_num_threads", "the number of threads must be at least 1, got 0"));
    }
    REQUESTED.store(threads, Ordering::Relaxed);
    Ok(())
}

fn current() -> Result<&'static Pool> {
    loop {
        let found = POOL.load(Ordering::Acquire);
        // SAFETY: pools are never freed, so a pointer once stored stays valid, in a forked child too.
        if let Some(pool) = unsafe { found.as_ref() } {
            let requested = REQUESTED.load(Ordering::Relaxed);
            if pool.process == process::id()
                && (requested == 0 || requested == pool.threads.current_num_threads())
            {
                return Ok(pool);
            }
        }
        let built = Box::into_raw(Box::new(build()?));
        if POOL.compare_exchange(found, built, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: just made by `Box::into_raw` and shared with nobody.
            drop(unsafe { Box::from_raw(built) });
        }
    }
}

fn build() -> Result<Pool> {
    let threads = num_threads();
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("trustformers-{index}"))
        .build()
        .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
    Ok(Pool { process: process::id(), threads: pool })
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn work_runs_on_our_threads() {
        let names: Vec<_> = install(|| {
            (0..64).into_par_iter().map(|_| thread::current().name().map(str::to_owned)).collect()
        })
        .unwrap();
        assert!(names.iter().all(|name| name.as_ref().unwrap().starts_with("trustformers-")));
    }

    #[test]
    fn a_nested_call_stays_where_it_is() {
        let (outer, inner) =
            install(|| (rayon::current_thread_index(), install(rayon::current_thread_index).unwrap()))
                .unwrap();
        assert_eq!(outer, inner);
    }

    #[test]
    fn zero_threads_are_refused() {
        assert!(set_num_threads(0).is_err());
    }
}
