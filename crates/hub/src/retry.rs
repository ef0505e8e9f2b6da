//! Which failures are worth another attempt, and when.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;

/// The longest wait that a server may ask for.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// A failure, and how many attempts this kind is worth.
#[derive(Debug)]
pub(crate) struct Trouble {
    // In a box, since every fallible step carries it.
    error: Box<Error>,
    attempts: u32,
    wait: Option<Duration>,
}

impl Trouble {
    /// Nobody is there: somebody who has no network wants to know it soon.
    pub fn unreached(error: Error) -> Self {
        Self { attempts: 3, ..Self::from(error) }
    }

    /// The server is there but failed, which usually passes; it may have said how long to `wait`.
    pub fn passing(error: Error, wait: Option<Duration>) -> Self {
        let attempts = if wait > Some(MAX_WAIT) { 1 } else { 6 };
        Self { attempts, wait, ..Self::from(error) }
    }

    /// The same, but with no more than so many attempts.
    pub fn at_most(self, attempts: u32) -> Self {
        Self { attempts: self.attempts.min(attempts), ..self }
    }
}

/// A failure that will not go away.
impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), attempts: 1, wait: None }
    }
}

/// Counts attempts, and waits longer before each.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failed: u32,
}

impl Backoff {
    /// Waits until it is time for the next attempt, or gives the failure back if there have been enough.
    pub fn wait(&mut self, trouble: Trouble, interrupt: &Interrupt) -> Result<()> {
        self.failed += 1;
        if self.failed >= trouble.attempts {
            return Err(*trouble.error);
        }
        interrupt.sleep(trouble.wait.unwrap_or(Duration::from_millis(250 << self.failed.min(5))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_and_waits_can_be_interrupted() {
        let stop = Interrupt::new(|| true);
        let mut backoff = Backoff::default();
        let waits =
            |backoff: &mut Backoff, trouble| matches!(backoff.wait(trouble, &stop), Err(Error::Interrupted));
        assert!(waits(&mut backoff, Trouble::unreached(Error::NoToken)));
        assert!(waits(&mut backoff, Trouble::unreached(Error::NoToken)));
        assert!(!waits(&mut backoff, Trouble::unreached(Error::NoToken)), "the third failure is final");
        assert!(
            waits(&mut backoff, Trouble::passing(Error::NoToken, None)),
            "unless it is of a kind that passes"
        );
        for last in [
            Trouble::from(Error::NoToken),
            Trouble::passing(Error::NoToken, None).at_most(1),
            Trouble::passing(Error::NoToken, Some(Duration::from_secs(3600))),
        ] {
            assert!(matches!(Backoff::default().wait(last, &stop), Err(Error::NoToken)));
        }
    }
}
