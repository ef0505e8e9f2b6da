//! Where the time goes: what is computed while a [`Profiler`] runs, operation by operation and layer by layer.
//!
//! Every operation asks its memory for a backend ([`crate::Storage::backend`]), and while a profiler runs it is given one that notes what
//! it is asked for (`Profiled`). Who walks layers, steps and recorded operations opens a [`Scope`] for each. That is all: while nothing
//! is measured, an operation or a scope costs the look at one flag.
//!
//! What is measured is the whole process, whichever thread computes: asynchronous calls and a server's threads have theirs. The helpers
//! that share an operation's work do so within the time of the thread that asked for it.

mod backend;
mod report;
mod trace;

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

pub(crate) use backend::Profiled;
pub use report::{By, Row, Sort, table};

use crate::Shape;

/// What there is to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One step of a device: a method of [`crate::Backend`].
    Operation,
    /// The gradients of one recorded operation, whose name it has.
    Backward,
    /// A layer, or a part of one.
    Module,
    /// A call or a step that holds all these: a forward pass, a decoded token.
    Span,
}

/// The path of a layer or a part of one, as in the names of its parameters: `encoder.layer.3.attention.self`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Module(Arc<str>);

impl Module {
    /// The module at `path`.
    pub fn new(path: &str) -> Module {
        Module(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Measures what this thread does until the scope is dropped, as done by this module.
    pub fn enter(&self) -> Scope {
        Scope::open(Kind::Module, "", || Some(self.clone()))
    }
}

/// Measures what this thread does until the scope is dropped, as one step of that name.
pub fn span(name: &'static str) -> Scope {
    Scope::open(Kind::Span, name, here)
}

/// The innermost module that this thread works for, if somebody asks.
pub(crate) fn here() -> Option<Module> {
    if is_on() { MODULE.with_borrow(Clone::clone) } else { None }
}

/// Measures the gradients of an operation that was recorded in `module`.
pub(crate) fn backward(op: &'static str, module: &Option<Module>) -> Scope {
    Scope::open(Kind::Backward, op, || module.clone())
}

/// What an operation works on and how much.
#[derive(Clone, Debug, Default)]
struct Work {
    shapes: SmallVec<[Shape; 4]>,
    flops: u64,
    bytes: u64,
}

/// Something that was done.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// The operation or the step; nothing for a module.
    label: &'static str,
    /// The module that it was done by or for.
    pub module: Option<Module>,
    /// A number for the thread that did it.
    pub thread: u64,
    /// When it began, after the profile did.
    pub start: Duration,
    /// How long it took.
    pub duration: Duration,
    /// How long it took without the events within it.
    pub own: Duration,
    work: Work,
}

impl Event {
    /// The operation's name, with `_backward` behind it for its gradients; the path of a module; the name of a step.
    pub fn name(&self) -> String {
        match (self.kind, &self.module) {
            (Kind::Module, Some(module)) => module.path().into(),
            (Kind::Backward, _) => format!("{}_backward", self.label),
            _ => self.label.into(),
        }
    }

    /// The shapes of an operation's tensors; of a linear layer's its input and its weight.
    pub fn shapes(&self) -> &[Shape] {
        &self.work.shapes
    }

    /// The floating-point operations of a product of matrices or an attention, an addition and a multiplication being two; 0 for all else.
    pub fn flops(&self) -> u64 {
        self.work.flops
    }

    /// The bytes of an operation's tensors, those of its results among them.
    pub fn bytes(&self) -> u64 {
        self.work.bytes
    }
}

static IS_ON: AtomicBool = AtomicBool::new(false);
static LOG: Mutex<Log> = Mutex::new(Log { profilers: 0, events: Vec::new() });

/// What all profilers that run have in common.
struct Log {
    profilers: usize,
    /// In the order in which they ended, with when they began.
    events: Vec<(Instant, Event)>,
}

fn log() -> MutexGuard<'static, Log> {
    // Events are pushed whole.
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anything is measured now.
#[inline]
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

thread_local! {
    /// How much time the scopes that this thread is in, outermost first, have had for scopes within them.
    static WITHIN: RefCell<Vec<Duration>> = const { RefCell::new(Vec::new()) };
    static MODULE: RefCell<Option<Module>> = const { RefCell::new(None) };
    static THREAD: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Numbers threads as they come.
fn thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    THREAD.get().unwrap_or_else(|| {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        THREAD.set(Some(number));
        number
    })
}

/// Something that is being done by the thread that made this, until it is dropped.
#[must_use = "what is done is measured until this is dropped"]
pub struct Scope(Option<Open>, PhantomData<*const ()>);

struct Open {
    kind: Kind,
    label: &'static str,
    work: Work,
    start: Instant,
    /// The module that the thread goes back to.
    outside: Option<Module>,
}

impl Scope {
    #[inline]
    fn open(kind: Kind, label: &'static str, module: impl FnOnce() -> Option<Module>) -> Scope {
        if !is_on() {
            return Scope(None, PhantomData);
        }
        Scope::begin(kind, label, module(), Work::default())
    }

    fn begin(kind: Kind, label: &'static str, module: Option<Module>, work: Work) -> Scope {
        let outside = MODULE.replace(module);
        WITHIN.with_borrow_mut(|within| within.push(Duration::ZERO));
        Scope(Some(Open { kind, label, work, start: Instant::now(), outside }), PhantomData)
    }

    /// Counts what came out.
    fn add_bytes(&mut self, bytes: u64) {
        if let Some(open) = &mut self.0 {
            open.work.bytes += bytes;
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let Some(Open { kind, label, work, start, outside }) = self.0.take() else { return };
        let duration = start.elapsed();
        let within = WITHIN.with_borrow_mut(|within| {
            let inner = within.pop().unwrap_or_default();
            if let Some(outer) = within.last_mut() {
                *outer += duration;
            }
            inner
        });
        let (module, own) = (MODULE.replace(outside), duration.saturating_sub(within));
        let event =
            Event { kind, label, module, thread: thread(), start: Duration::ZERO, duration, own, work };
        let mut log = log();
        if log.profilers > 0 {
            log.events.push((start, event));
        }
    }
}

/// Measures everything that begins and ends while it runs, until it is stopped or dropped. Several may run at once, each with a profile
/// of its own.
#[must_use = "nothing is measured once this is dropped"]
pub struct Profiler {
    since: Instant,
    /// How many events were there before.
    before: usize,
}

impl Profiler {
    /// Begins to measure.
    pub fn start() -> Profiler {
        let mut log = log();
        log.profilers += 1;
        IS_ON.store(true, Ordering::Relaxed);
        Profiler { since: Instant::now(), before: log.events.len() }
    }

    /// Ends it: what was measured.
    pub fn stop(self) -> Profile {
        let duration = self.since.elapsed();
        let of_mine = |(start, event): &(Instant, Event)| {
            // What began earlier is not mine, though it has ended since.
            let start = start.checked_duration_since(self.since)?;
            Some(Event { start, ..event.clone() })
        };
        let mut events: Vec<Event> = log().events[self.before..].iter().filter_map(of_mine).collect();
        events.sort_by_key(|event| (event.start, Reverse(event.duration)));
        Profile { events, duration }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        let mut log = log();
        log.profilers -= 1;
        if log.profilers == 0 {
            IS_ON.store(false, Ordering::Relaxed);
            log.events = Vec::new();
        }
    }
}

/// What was done while a [`Profiler`] ran, and how long it took.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    events: Vec<Event>,
    duration: Duration,
}

impl Profile {
    /// All that was done, in the order in which it began.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How long the profiler ran.
    pub fn duration(&self) -> Duration {
        self.duration
    }
}

/// What `work` returns, and where its time went.
///
/// ```
/// # use trustformers_tensor::{profile, DType, Tensor};
/// # fn main() -> trustformers_tensor::Result<()> {
/// let x = Tensor::ones(&[64, 64], DType::F32)?;
/// let (product, profile) = profile::record(|| x.matmul(&x));
/// product?;
/// println!("{profile}");
/// # Ok(())
/// # }
/// ```
pub fn record<R>(work: impl FnOnce() -> R) -> (R, Profile) {
    let profiler = Profiler::start();
    let result = work();
    (result, profiler.stop())
}

#[cfg(test)]
mod tests;
