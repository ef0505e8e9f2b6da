//! The threads that compute one operation together: the one that asks for it, and helpers.
//!
//! A step of a model is a few hundred operations, some of them of microseconds. Handing work to a pool and waiting for it to wake costs as
//! much as they do, so the caller takes part, and helpers that have just finished look out for more work for a moment before they sleep.
//! There is one team in a process. Who finds it at work on something else computes alone: the cores are busy already.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use std::{hint, process};

use crate::pool::num_threads;
use crate::{Error, Result, interrupt};

/// How long a helper looks out for work before it sleeps: longer than what lies between two operations of a step.
const ALERT: Duration = Duration::from_micros(50);

/// Does `work` for every number below `tasks`, on all threads that are free.
///
/// # Errors
/// `Threads` when they cannot be started, `Interrupted` when the caller shall give up: some tasks were then not done.
pub(crate) fn for_each(tasks: usize, work: impl Fn(usize) + Sync) -> Result<()> {
    let threads = num_threads();
    // Rayon's threads, where they are at work, are as many as there are cores.
    if tasks > 1
        && threads > 1
        && rayon::current_thread_index().is_none()
        && let Some(team) = Team::of(threads)?
        && let Some(result) = team.run(tasks, &work)
    {
        return result;
    }
    alone(tasks, work)
}

/// [`for_each`] on this thread.
pub(crate) fn alone(tasks: usize, work: impl Fn(usize)) -> Result<()> {
    (0..tasks).try_for_each(|task| {
        interrupt::check()?;
        work(task);
        Ok(())
    })
}

/// [`for_each`] for work that can fail; one of its errors is returned.
pub(crate) fn try_for_each(tasks: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    let failed = OnceLock::new();
    for_each(tasks, |task| {
        if failed.get().is_none()
            && let Err(error) = work(task)
        {
            // Another task's error is as good.
            _ = failed.set(error);
        }
    })?;
    failed.into_inner().map_or(Ok(()), Err)
}

/// Cuts `items` into runs of `size` and does `work` for each, with its number.
pub(crate) fn for_each_chunk<T: Send>(
    items: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) -> Result<()> {
    try_for_each_chunk(items, size, |chunk, items| {
        work(chunk, items);
        Ok(())
    })
}

/// [`for_each_chunk`] for work that can fail.
pub(crate) fn try_for_each_chunk<T: Send>(
    items: &mut [T],
    size: usize,
    work: impl Fn(usize, &mut [T]) -> Result<()> + Sync,
) -> Result<()> {
    struct Start<T>(*mut T);
    // SAFETY: only the address crosses threads; each task has items of its own, which may go to another thread.
    unsafe impl<T: Send> Sync for Start<T> {}
    let (start, len, size) = (Start(items.as_mut_ptr()), items.len(), size.max(1));
    let start = &start;
    try_for_each(len.div_ceil(size), |chunk| {
        let from = chunk * size;
        // SAFETY: within the items; every task is done once, and no two have items in common.
        work(chunk, unsafe { std::slice::from_raw_parts_mut(start.0.add(from), size.min(len - from)) })
    })
}

/// What a team does now.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

/// In [`Team::state`]: whether helpers may still join the job. Below this bit is the number of those that did, above it the job's number.
const OPEN: u64 = 1 << 16;
const JOINED: u64 = OPEN - 1;

struct Team {
    process: u32,
    threads: usize,
    state: AtomicU64,
    next: AtomicUsize,
    /// Written while nobody has joined and none may, read by those that have.
    job: UnsafeCell<Job>,
    is_busy: AtomicBool,
    /// Whether who asked for the job has given up: helpers then do the same.
    is_stopped: AtomicBool,
    is_dismissed: AtomicBool,
    sleeping: AtomicUsize,
    helpers: OnceLock<Vec<Thread>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: the job is handed over by `state`, as said there; all else is made for sharing.
unsafe impl Sync for Team {}
// SAFETY: as above.
unsafe impl Send for Team {}

/// The team of now. Those that were replaced are leaked: their last operation may still be running.
static TEAM: AtomicPtr<Team> = AtomicPtr::new(ptr::null_mut());

impl Team {
    /// That of this process with so many threads; none while another thread builds it, as then the caller computes alone.
    fn of(threads: usize) -> Result<Option<&'static Team>> {
        /// The process in which a thread builds the team: in a forked child it is not there to end.
        static BUILDER: AtomicU32 = AtomicU32::new(0);
        struct Building;
        impl Drop for Building {
            fn drop(&mut self) {
                BUILDER.store(0, Ordering::Release);
            }
        }
        // SAFETY: teams are never freed, so a pointer once stored stays valid, in a forked child too.
        let current = || unsafe { TEAM.load(Ordering::Acquire).as_ref() };
        let fits = |team: &&Team| team.threads == threads && team.process == process::id();
        if let Some(team) = current().filter(fits) {
            return Ok(Some(team));
        }
        let (builder, own) = (BUILDER.load(Ordering::Acquire), process::id());
        if builder == own
            || BUILDER.compare_exchange(builder, own, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return Ok(None);
        }
        let _building = Building;
        // Another may have built it just before.
        if let Some(team) = current().filter(fits) {
            return Ok(Some(team));
        }
        let built = Team::build(threads)?;
        let before = TEAM.swap(ptr::from_ref(built).cast_mut(), Ordering::AcqRel);
        // SAFETY: as above.
        if let Some(before) = unsafe { before.as_ref() } {
            before.dismiss();
        }
        Ok(Some(built))
    }

    fn build(threads: usize) -> Result<&'static Team> {
        let nothing: &'static (dyn Fn(usize) + Sync) = &|_| ();
        let team: &'static Team = Box::leak(Box::new(Team {
            process: process::id(),
            threads,
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { work: nothing, tasks: 0 }),
            is_busy: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            is_dismissed: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            helpers: OnceLock::new(),
            panic: Mutex::new(None),
        }));
        let mut helpers = Vec::with_capacity(threads - 1);
        for index in 1..threads {
            let named = thread::Builder::new().name(format!("trustformers-{index}"));
            match named.spawn(move || team.help()) {
                Ok(handle) => helpers.push(handle.thread().clone()),
                Err(error) => {
                    team.helpers.get_or_init(|| helpers);
                    team.dismiss();
                    return Err(Error::Threads { threads, reason: error.to_string() });
                }
            }
        }
        team.helpers.get_or_init(|| helpers);
        Ok(team)
    }

    /// Has the helpers end.
    fn dismiss(&self) {
        self.is_dismissed.store(true, Ordering::SeqCst);
        self.wake(usize::MAX);
    }

    fn wake(&self, count: usize) {
        self.helpers.get().into_iter().flatten().take(count).for_each(Thread::unpark);
    }

    /// Does the work, with whoever comes to help; nothing if the team is at work already.
    fn run(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) -> Option<Result<()>> {
        if self.is_busy.swap(true, Ordering::Acquire) {
            return None;
        }
        /// Ends the job however its work ends: nobody may be left in it, since its closure is borrowed.
        struct End<'a>(&'a Team);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
                let mut rounds = 0u32;
                while self.0.state.load(Ordering::Acquire) & JOINED != 0 {
                    rounds += 1;
                    if rounds < 10_000 {
                        hint::spin_loop();
                        continue;
                    }
                    // A helper has lost its core, or its task is a long one.
                    thread::yield_now();
                    if interrupt::check().is_err() {
                        self.0.is_stopped.store(true, Ordering::Relaxed);
                    }
                }
                self.0.is_busy.store(false, Ordering::Release);
            }
        }
        // SAFETY: only the lifetime is made longer; `End` waits for all who use it.
        let work: *const (dyn Fn(usize) + Sync) =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work) };
        // SAFETY: the last job is closed and was left by all, and only one caller is here at a time.
        unsafe { *self.job.get() = Job { work, tasks } };
        self.next.store(0, Ordering::Relaxed);
        self.is_stopped.store(false, Ordering::Relaxed);
        let number = self.state.load(Ordering::Relaxed) / (2 * OPEN) + 1;
        self.state.store((number * 2 + 1) * OPEN, Ordering::SeqCst);
        let end = End(self);
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            self.wake(tasks.saturating_sub(1));
        }
        // SAFETY: as long as the job is open.
        if unsafe { self.work() }.is_err() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        drop(end);
        let result = if self.is_stopped.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) };
        if let Some(panic) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
        Some(result)
    }

    /// Does what is left of the job, unless interrupted.
    ///
    /// # Safety
    /// The caller must have opened the job or joined it.
    unsafe fn work(&self) -> Result<()> {
        // SAFETY: nobody writes it meanwhile, and the closure lives.
        let (job, work) = unsafe {
            let job = *self.job.get();
            (job, &*job.work)
        };
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= job.tasks {
                return Ok(());
            }
            interrupt::check()?;
            work(task);
        }
    }

    /// A helper's life.
    fn help(&'static self) {
        let mut last = 0;
        while let Some(job) = self.join(last) {
            last = job;
            let stopped = || self.is_stopped.load(Ordering::Relaxed);
            // SAFETY: joined.
            let work = || interrupt::during(stopped, || unsafe { self.work() });
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
            }
            self.state.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a job after `last`, joins it and says its number; nothing once the team is dismissed.
    fn join(&self, last: u64) -> Option<u64> {
        let mut since: Option<Instant> = None;
        loop {
            for _ in 0..64 {
                let state = self.state.load(Ordering::Relaxed);
                let number = state / (2 * OPEN);
                if state & OPEN != 0
                    && number != last
                    && self
                        .state
                        .compare_exchange(state, state + 1, Ordering::Acquire, Ordering::Relaxed)
                        .is_ok()
                {
                    return Some(number);
                }
                hint::spin_loop();
            }
            if self.is_dismissed.load(Ordering::Relaxed) {
                return None;
            }
            if since.get_or_insert_with(Instant::now).elapsed() < ALERT {
                continue;
            }
            // Either this sees the job that is opened now, or who opens it sees that somebody sleeps.
            self.sleeping.fetch_add(1, Ordering::SeqCst);
            let state = self.state.load(Ordering::SeqCst);
            let is_idle = state & OPEN == 0 || state / (2 * OPEN) == last;
            if is_idle && !self.is_dismissed.load(Ordering::SeqCst) {
                thread::park();
            }
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
            since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tasks: usize) -> Vec<AtomicUsize> {
        (0..tasks).map(|_| AtomicUsize::new(0)).collect()
    }

    #[test]
    fn every_task_is_done_once() {
        let team = Team::build(4).unwrap();
        // Miri looks at every access, which takes it long.
        for round in 0..if cfg!(miri) { 40 } else { 2000 } {
            let counts = counts(round % 17);
            // Sometimes late enough for helpers to sleep.
            if round % 500 == 0 {
                thread::sleep(4 * ALERT);
            }
            let done = team.run(counts.len(), &|task| _ = counts[task].fetch_add(1, Ordering::Relaxed));
            assert!(matches!(done, Some(Ok(()))));
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
        team.dismiss();
    }

    #[test]
    fn callers_at_the_same_time_and_within_one_another_all_get_their_work_done() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..if cfg!(miri) { 2 } else { 200 } {
                        let counts = counts(8 * 8);
                        for_each(8, |outer| {
                            for_each(8, |inner| {
                                counts[outer * 8 + inner].fetch_add(1, Ordering::Relaxed);
                            })
                            .unwrap();
                        })
                        .unwrap();
                        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
                    }
                });
            }
        });
    }

    #[test]
    fn chunks_cover_everything() {
        for (len, size) in [(0, 3), (1, 3), (10, 3), (9, 3), (5, 0)] {
            let mut items = vec![0; len];
            for_each_chunk(&mut items, size, |chunk, items| {
                items.iter_mut().for_each(|item| *item += chunk + 1)
            })
            .unwrap();
            let want: Vec<usize> = (0..len).map(|i| i / size.max(1) + 1).collect();
            assert_eq!(items, want);
        }
    }

    #[test]
    fn an_error_comes_back() {
        let fail = |task| if task == 5 { Err(Error::argument("test", "five")) } else { Ok(()) };
        assert!(try_for_each(9, fail).unwrap_err().to_string().contains("five"));
        assert!(try_for_each(5, fail).is_ok());
    }

    #[test]
    fn who_is_interrupted_leaves_tasks_undone_and_the_team_able_to_work() {
        let team = Team::build(3).unwrap();
        let counts = counts(1000);
        let work = |task: usize| {
            thread::sleep(Duration::from_micros(50));
            counts[task].fetch_add(1, Ordering::Relaxed);
        };
        let all = || counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>();
        let stopped = interrupt::during(|| true, || team.run(counts.len(), &work));
        assert!(matches!(stopped, Some(Err(Error::Interrupted))));
        let before = all();
        assert!(before < counts.len());
        assert!(matches!(team.run(counts.len(), &work), Some(Ok(()))));
        assert_eq!(all(), before + counts.len());
        team.dismiss();
    }

    #[test]
    fn a_panic_comes_back_and_leaves_the_team_able_to_work() {
        let team = Team::build(3).unwrap();
        let panics = catch_unwind(AssertUnwindSafe(|| team.run(8, &|task| assert!(task != 3, "task three"))));
        assert!(panics.is_err());
        let counts = counts(8);
        assert!(team.run(8, &|task| _ = counts[task].fetch_add(1, Ordering::Relaxed)).is_some());
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        team.dismiss();
    }
}
