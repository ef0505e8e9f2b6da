//! Memory that a thread works in.

use std::cell::Cell;

/// Floats of a cache line, and of the widest vector.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; LINE]);

/// Floats that lie on cache lines, taken anew for every piece of work.
#[derive(Default)]
pub(super) struct Scratch(Vec<Line>);

impl Scratch {
    /// Parts of the given lengths, each from a cache line on. What they hold is left from before.
    pub(super) fn parts<const N: usize>(&mut self, lengths: [usize; N]) -> [*mut f32; N] {
        let lines = lengths.map(|length| length.div_ceil(LINE));
        let needed = lines.iter().sum();
        if self.0.len() < needed {
            self.0.resize(needed, Line([0.0; LINE]));
        }
        let mut at = self.0.as_mut_ptr();
        lines.map(|lines| {
            let part = at;
            at = at.wrapping_add(lines);
            part.cast()
        })
    }
}

/// Gives `work` a scratch of this thread, which keeps its memory for the next one. Within `work` another one can be had.
pub(super) fn with<R>(work: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local! {
        static IDLE: Cell<Vec<Scratch>> = const { Cell::new(Vec::new()) };
    }
    let mut idle = IDLE.take();
    let mut scratch = idle.pop().unwrap_or_default();
    IDLE.set(idle);
    let result = work(&mut scratch);
    let mut idle = IDLE.take();
    idle.push(scratch);
    IDLE.set(idle);
    result
}
