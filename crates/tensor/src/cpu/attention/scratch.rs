//! Memory that a thread works in.

use std::cell::Cell;

/// Floats of a cache line, and of the widest vector.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; LINE]);

/// Floats that lie on cache lines, taken anew for every block of rows.
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

/// Gives `work` the scratch of this thread, which keeps its memory from one attention to the next.
pub(super) fn with(work: impl FnOnce(&mut Scratch)) {
    thread_local! {
        static OWN: Cell<Scratch> = const { Cell::new(Scratch(Vec::new())) };
    }
    let mut scratch = OWN.take();
    work(&mut scratch);
    OWN.set(scratch);
}
