//! Work that is recorded once and launched as one: a CUDA graph, and the memory that it writes to whenever it runs.

use std::cell::RefCell;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use super::gpu::{Gpu, Handle};
use super::memory::Block;
use crate::memory::Cache;
use crate::{Error, Result};

/// The graph that a thread is recording.
struct Recording {
    /// Which device, by its address.
    gpu: usize,
    stream: sys::CUstream,
    arena: Arc<Arena>,
}

thread_local! {
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// What `ask` finds in the recording that this thread makes on `gpu`, if it makes one.
fn recording<T>(gpu: &Gpu, ask: impl FnOnce(&Recording) -> T) -> Option<T> {
    RECORDING.with_borrow(|recording| {
        recording.as_ref().filter(|recording| recording.gpu == ptr::from_ref(gpu).addr()).map(ask)
    })
}

/// The stream that this thread records from.
pub(super) fn stream(gpu: &Gpu) -> Option<sys::CUstream> {
    recording(gpu, |recording| recording.stream)
}

/// Refuses what depends on values of this moment while a graph is recorded.
pub(super) fn expect_not_recording(gpu: &Gpu, what: &str) -> Result<()> {
    match recording(gpu, |_| ()) {
        Some(()) => Err(Error::Device(format!("{what} cannot be part of a graph"))),
        None => Ok(()),
    }
}

/// Memory of one graph. What a recording gives back may be used again by what it records later, and by nothing else as long as there is
/// the graph: it writes to the same addresses at every launch.
#[derive(Default)]
pub(super) struct Arena(Mutex<Cache<Block>>);

impl Arena {
    fn idle(&self) -> MutexGuard<'_, Cache<Block>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, size: usize) -> Option<Block> {
        self.idle().take(size)
    }

    pub(super) fn put(&self, block: Block) {
        self.idle().put(block, usize::MAX);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.idle().empty();
    }
}

/// Where what this thread asks for on `gpu` comes from, while it records.
pub(super) fn arena(gpu: &Gpu) -> Option<Arc<Arena>> {
    recording(gpu, |recording| recording.arena.clone())
}

/// Ends this thread's recording, also where its work panics.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        RECORDING.set(None);
    }
}

/// Recorded work. Whatever it reads and writes must still be there when it is launched: the caller keeps inputs and outputs, the graph what lies
/// between.
pub struct Graph {
    launched: Handle<sys::CUgraphExec>,
    gpu: &'static Gpu,
    /// Last to go: the graph writes there.
    _arena: Arc<Arena>,
}

impl Graph {
    /// Records what `work` asks of `gpu`, without doing it, and what it returns. Nothing that `work` does may wait for the device, read
    /// from it, or depend on values of this moment but those in its arguments.
    ///
    /// # Errors
    /// What `work` returns; `Device` when it did what cannot be recorded.
    pub fn record<T>(gpu: &'static Gpu, work: impl FnOnce() -> Result<T>) -> Result<(Graph, T)> {
        let _bound = gpu.bind()?;
        let said = |error| gpu.failed("recording a graph", error);
        expect_not_recording(gpu, "recording another graph")?;
        let arena = Arc::new(Arena::default());
        // A panic of `work` leaves the stream recording: whoever records next is told so.
        let stream = gpu.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as the process.
        unsafe { result::stream::begin_capture(stream.0, mode) }.map_err(said)?;
        let own = Recording { gpu: ptr::from_ref(gpu).addr(), stream: stream.0, arena: arena.clone() };
        RECORDING.set(Some(own));
        let ended = Ended;
        let done = work();
        drop(ended);
        // SAFETY: as above; also after an error the recording must end for the stream to be of use again.
        let graph = unsafe { result::stream::end_capture(stream.0) };
        let done = done?;
        let graph = graph.map_err(said)?;
        if graph.is_null() {
            return Err(Error::Device("nothing was recorded".into()));
        }
        // SAFETY: the graph is what was just recorded; what is launched is a copy of it.
        let launched = unsafe {
            let launched = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            _ = result::graph::destroy(graph);
            launched.map_err(said)?
        };
        Ok((Graph { launched: Handle(launched), gpu, _arena: arena }, done))
    }

    /// Has all of it done once more, as one launch, in line with all other work of its device.
    ///
    /// # Errors
    /// `Device` when it is lost.
    pub fn launch(&self) -> Result<()> {
        let _bound = self.gpu.bind()?;
        // SAFETY: graph and stream are alive, and so is all memory, see `Graph`.
        unsafe { result::graph::launch(self.launched.0, self.gpu.stream()) }
            .map_err(|error| self.gpu.failed("a graph", error))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // Its memory is handed to others when it goes, on the same stream and so behind its last launch.
        if let Ok(_bound) = self.gpu.bind() {
            // SAFETY: not launched again; the driver keeps it until its last launch is done.
            _ = unsafe { result::graph::exec_destroy(self.launched.0) };
        }
    }
}
