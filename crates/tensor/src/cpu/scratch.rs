//! Memory that a thread works in.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Floats of a cache line, and of the widest vector.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; LINE]);

/// Numbers that any bits are one of.
pub(super) trait Plain: Copy {}
impl Plain for i8 {}
impl Plain for i16 {}
impl Plain for f32 {}

/// Numbers that lie on cache lines: a load of a vector that lies on two takes twice as long.
pub(super) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned { lines: Vec::new(), len: 0, of: PhantomData }
    }
}

impl<T: Plain> Aligned<T> {
    /// Makes them `len` zeros.
    pub(super) fn zero(&mut self, len: usize) {
        self.lines.clear();
        self.lines.resize((len * size_of::<T>()).div_ceil(size_of::<Line>()), Line([0.0; LINE]));
        self.len = len;
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold so many, aligned well enough for all numbers, of which any bits are one.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

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
