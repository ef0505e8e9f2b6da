//! Giving up while something blocks: a name that does not resolve, a server that does not answer, a lock that is held.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long an interrupted caller may have to wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// Pieces that may wait for their reader: enough to keep the network and the disk busy at once.
const PIECES: usize = 16;

/// A question that is asked ten times a second during everything that may take long; where the answer is `true`, the call
/// ends with [`Error::Interrupted`]. It is asked on the thread that made the call. The default never interrupts.
#[derive(Clone, Default)]
pub struct Interrupt(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Interrupt {
    /// Asks `stop`.
    pub fn new(stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(stop)))
    }

    /// Asks, on this thread.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the answer is yes.
    pub fn check(&self) -> Result<()> {
        match &self.0 {
            Some(stop) if stop() => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    /// Sleeps, unless interrupted.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Ok(()),
                left => thread::sleep(left.min(PATIENCE)),
            }
        }
    }

    /// Runs `work` on a thread of its own and hands on what it sends. A caller that is interrupted leaves the thread behind
    /// with whatever blocks it; the thread ends by its next timeout, or when it finds that nobody listens any more.
    pub(crate) fn attend<T: Send + 'static>(
        &self,
        work: impl FnOnce(SyncSender<T>) + Send + 'static,
    ) -> Result<Attended<T>> {
        let (sender, pieces) = sync_channel(PIECES);
        thread::Builder::new()
            .name("trustformers-hub".to_owned())
            .spawn(move || work(sender))
            .map_err(Error::io("start a thread for", Path::new("the download")))?;
        Ok(Attended { pieces, interrupt: self.clone(), checked: Instant::now() })
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Interrupt(..)" } else { "Interrupt(never)" })
    }
}

/// What a thread sends, with an ear for the [`Interrupt`].
pub(crate) struct Attended<T> {
    pieces: Receiver<T>,
    interrupt: Interrupt,
    checked: Instant,
}

impl<T> Attended<T> {
    /// The next piece; `None` when the work has ended.
    pub fn next(&mut self) -> Result<Option<T>> {
        loop {
            if self.checked.elapsed() >= PATIENCE {
                self.interrupt.check()?;
                self.checked = Instant::now();
            }
            match self.pieces.recv_timeout(PATIENCE) {
                Ok(piece) => return Ok(Some(piece)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn after(questions: usize) -> Interrupt {
        let asked = AtomicUsize::new(0);
        Interrupt::new(move || asked.fetch_add(1, Ordering::Relaxed) >= questions)
    }

    #[test]
    fn pieces_arrive_in_order_and_end() {
        let mut work =
            Interrupt::default().attend(|out| (0..100).for_each(|n| out.send(n).unwrap())).unwrap();
        let mut seen = Vec::new();
        while let Some(n) = work.next().unwrap() {
            seen.push(n);
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_blocked_thread_does_not_hold_the_caller() {
        let started = Instant::now();
        let mut work = after(1)
            .attend(|out: SyncSender<()>| {
                thread::sleep(Duration::from_secs(20));
                drop(out);
            })
            .unwrap();
        assert!(matches!(work.next(), Err(Error::Interrupted)));
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_abandoned_thread_stops_at_its_next_piece() {
        let (told, ended) = sync_channel(1);
        let work = Interrupt::default()
            .attend(move |out| {
                while out.send(0u8).is_ok() {}
                told.send(()).unwrap();
            })
            .unwrap();
        drop(work);
        ended.recv_timeout(Duration::from_secs(20)).unwrap();
    }

    #[test]
    fn sleep_is_cut_short() {
        let started = Instant::now();
        assert!(matches!(after(2).sleep(Duration::from_secs(20)), Err(Error::Interrupted)));
        assert!(started.elapsed() < Duration::from_secs(5));
        Interrupt::default().sleep(Duration::from_millis(1)).unwrap();
    }
}
