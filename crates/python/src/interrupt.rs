//! What ends a computation early: Ctrl-C on the main thread, and who waits for it no longer on any.

use std::cell::{Cell, RefCell};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use trustformers::tensor::interrupt;

/// How often the main thread looks for signals: it needs the GIL for that, which others may hold.
const SIGNALS: Duration = Duration::from_millis(20);

thread_local! {
    /// What the call that this thread works for is cancelled with.
    static CANCELLED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// The process in which this thread was found to be the main one, or not: a forked child has another.
    static IS_MAIN: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Ends the computations of a call from another thread: at the next operation they raise ``asyncio.CancelledError``.
#[pyclass(frozen, name = "Cancellation", module = "trustformers._engine")]
pub struct PyCancellation(Arc<AtomicBool>);

#[pymethods]
impl PyCancellation {
    #[new]
    fn new() -> PyCancellation {
        PyCancellation(Arc::new(AtomicBool::new(false)))
    }

    /// Cancels the call, for good.
    fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    #[getter]
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What ``function`` returns, which is called without arguments and can be cancelled.
    fn run(&self, function: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        /// What could be cancelled before is so again, however the call ends.
        struct Before(Option<Arc<AtomicBool>>);
        impl Drop for Before {
            fn drop(&mut self) {
                CANCELLED.set(self.0.take());
            }
        }
        let _before = Before(CANCELLED.replace(Some(self.0.clone())));
        function.call0().map(Bound::unbind)
    }
}

/// Does `work` without the GIL, and ends it where Python's caller wants it ended; see [`signalled`].
pub fn detached<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    py.detach(|| interrupt::during(signalled, work))
}

/// Raises what ends the thread's call, if anything does; see [`signalled`].
pub fn check(py: Python<'_>) -> PyResult<()> {
    if signalled() { Err(PyErr::fetch(py)) } else { Ok(()) }
}

/// Whether the thread's call was cancelled, Ctrl-C was pressed, or another signal's handler has raised. What there is to be raised is set,
/// for [`crate::errors`] to raise.
pub fn signalled() -> bool {
    if CANCELLED.with_borrow(|cancelled| cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)))
    {
        Python::try_attach(|py| cancelled_error(py).unwrap_or_else(|error| error).restore(py));
        return true;
    }
    if LOOKED.get().is_some_and(|looked| looked.elapsed() < SIGNALS) || IS_MAIN.get().is_some_and(is_other) {
        return false;
    }
    LOOKED.set(Some(Instant::now()));
    let raised = Python::try_attach(|py| {
        let is_main = IS_MAIN.get().filter(|(process, _)| *process == process::id());
        let is_main = is_main.map_or_else(|| is_main_thread(py), |(_, is_main)| Ok(is_main));
        IS_MAIN.set(is_main.as_ref().ok().map(|&is_main| (process::id(), is_main)));
        is_main.and_then(|_| py.check_signals()).map_err(|error| error.restore(py)).is_err()
    });
    // Without an interpreter there is nobody left to wait.
    raised.unwrap_or(true)
}

/// Python's signals are handled on the main thread alone.
fn is_other((process, is_main): (u32, bool)) -> bool {
    !is_main && process == process::id()
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    main.eq(threading.call_method0(intern!(py, "get_ident"))?)
}

fn cancelled_error(py: Python<'_>) -> PyResult<PyErr> {
    let error = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "CancelledError"))?.call0()?;
    Ok(PyErr::from_value(error))
}
