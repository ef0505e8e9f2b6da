//! The arithmetic of reductions: how many numbers become one.

use std::marker::PhantomData;

use super::columns::{BLOCK, Columns, PerColumn, Rows, blocks};
use super::number::Number;
use super::reader::Reader;
use super::simd::vectorized;

/// Lanes of partial results: four of the widest vectors of f32.
const LANES: usize = 64;

/// What many numbers are reduced to.
pub(super) trait Reduction<C: Number>: Sync {
    /// What is known of the numbers seen so far.
    type State: Copy + Send + Sync;
    const NOTHING: Self::State;

    /// The state after a run of numbers more, as many as a reader gives at once.
    fn fold(state: Self::State, x: &[C]) -> Self::State;
    fn merge(a: Self::State, b: Self::State) -> Self::State;
    fn finish(state: Self::State) -> C;

    /// Merges a few rows of numbers, which start at `rows`, `apart` from one another, into the states of their columns.
    fn rows(reader: &Reader<C>, rows: Rows, states: &mut [Self::State]);
}

/// How numbers of type C are combined: step by step in their own type, and the partial results in a wider one.
pub(super) trait Combine<C>: Sync {
    type Wide: Copy + Send + Sync;
    const START: C;
    const WIDE_START: Self::Wide;
    /// Takes the number `x` into the partial result `total`.
    fn step(total: C, x: C) -> C;
    /// Puts two partial results together.
    fn wide_step(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    fn widen(x: C) -> Self::Wide;
    fn narrow(x: Self::Wide) -> C;
}

pub(super) struct Sum;
pub(super) struct SumSquares;
pub(super) struct Prod;
pub(super) struct Max;
pub(super) struct Min;

macro_rules! combine {
    ($($type:ty, $wide:ty, $max:expr, $min:expr, $nan:expr, $add:expr, $mul:expr;)*) => {$(
        combine!(@one Sum, $type, $wide, 0 as $type, 0 as $wide, $add, $add);
        combine!(@one SumSquares, $type, $wide, 0 as $type, 0 as $wide, |a: $type, x: $type| $add(a, $mul(x, x)), $add);
        combine!(@one Prod, $type, $wide, 1 as $type, 1 as $wide, $mul, $mul);
        combine!(@same Max, $type, $min, |a: $type, b: $type| if (b > a) | $nan(b) { b } else { a });
        combine!(@same Min, $type, $max, |a: $type, b: $type| if (b < a) | $nan(b) { b } else { a });
    )*};
    (@one $name:ident, $type:ty, $wide:ty, $start:expr, $wide_start:expr, $step:expr, $wide_step:expr) => {
        impl Combine<$type> for $name {
            type Wide = $wide;
            const START: $type = $start;
            const WIDE_START: $wide = $wide_start;
            #[inline(always)]
            fn step(total: $type, x: $type) -> $type { ($step)(total, x) }
            #[inline(always)]
            fn wide_step(a: $wide, b: $wide) -> $wide { ($wide_step)(a, b) }
            #[inline(always)]
            fn widen(x: $type) -> $wide { x as $wide }
            #[inline(always)]
            fn narrow(x: $wide) -> $type { x as $type }
        }
    };
    (@same $name:ident, $type:ty, $start:expr, $step:expr) => {
        impl Combine<$type> for $name {
            type Wide = $type;
            const START: $type = $start;
            const WIDE_START: $type = $start;
            #[inline(always)]
            fn step(total: $type, x: $type) -> $type { ($step)(total, x) }
            #[inline(always)]
            fn wide_step(a: $type, b: $type) -> $type { ($step)(a, b) }
            #[inline(always)]
            fn widen(x: $type) -> $type { x }
            #[inline(always)]
            fn narrow(x: $type) -> $type { x }
        }
    };
}
/// Generic over f32 and f64, which closures in the macro could not be.
#[inline(always)]
fn add<T: std::ops::Add<Output = T>>(a: T, b: T) -> T {
    a + b
}
#[inline(always)]
fn mul<T: std::ops::Mul<Output = T>>(a: T, b: T) -> T {
    a * b
}
combine! {
    f32, f64, f32::INFINITY, f32::NEG_INFINITY, f32::is_nan, add, mul;
    f64, f64, f64::INFINITY, f64::NEG_INFINITY, f64::is_nan, add, mul;
    i64, i64, i64::MAX, i64::MIN, |_| false, i64::wrapping_add, i64::wrapping_mul;
    u64, u64, u64::MAX, u64::MIN, |_| false, u64::wrapping_add, u64::wrapping_mul;
}

impl<C: Number, K: Combine<C>> Reduction<C> for K {
    type State = K::Wide;
    const NOTHING: K::Wide = K::WIDE_START;

    fn fold(state: K::Wide, x: &[C]) -> K::Wide {
        let of_run = vectorized(
            #[inline(always)]
            || {
                let (blocks, rest) = x.as_chunks::<LANES>();
                if blocks.is_empty() {
                    return rest.iter().fold(K::WIDE_START, |total, &x| {
                        K::wide_step(total, K::widen(K::step(K::START, x)))
                    });
                }
                let mut lanes = [K::START; LANES];
                for block in blocks {
                    for (lane, &x) in lanes.iter_mut().zip(block) {
                        *lane = K::step(*lane, x);
                    }
                }
                for (lane, &x) in lanes.iter_mut().zip(rest) {
                    *lane = K::step(*lane, x);
                }
                // Loops, not `map`, whose insides would be compiled for the narrowest processor.
                let mut wide = [K::WIDE_START; LANES];
                for (wide, &lane) in wide.iter_mut().zip(&lanes) {
                    *wide = K::widen(lane);
                }
                let mut half = LANES / 2;
                while half > 0 {
                    let (low, high) = wide.split_at_mut(half);
                    for (low, &mut high) in low.iter_mut().zip(high) {
                        *low = K::wide_step(*low, high);
                    }
                    half /= 2;
                }
                wide[0]
            },
        );
        K::wide_step(state, of_run)
    }

    fn merge(a: K::Wide, b: K::Wide) -> K::Wide {
        K::wide_step(a, b)
    }

    fn finish(state: K::Wide) -> C {
        K::narrow(state)
    }

    fn rows(reader: &Reader<C>, rows: Rows, states: &mut [K::Wide]) {
        let mut room = PerColumn::new();
        let totals = room.fill(states.len(), K::START);
        rows.each(reader, totals.len(), &mut Totals::<C, K>(totals, PhantomData));
        vectorized(
            #[inline(always)]
            || {
                for (state, &total) in states.iter_mut().zip(&*totals) {
                    *state = K::wide_step(*state, K::widen(total));
                }
            },
        );
    }
}

/// The partial results of columns.
struct Totals<'t, C, K>(&'t mut [C], PhantomData<K>);

impl<C: Number, K: Combine<C>> Columns<C> for Totals<'_, C, K> {
    fn take<const N: usize>(&mut self, rows: [&[C]; N]) {
        let (row_blocks, row_rests) = blocks(rows);
        let (blocks, rest) = self.0.as_chunks_mut::<BLOCK>();
        vectorized(
            #[inline(always)]
            || {
                for (i, block) in blocks.iter_mut().enumerate() {
                    // A copy stays in registers, whatever the rows may share their memory with.
                    let mut totals = *block;
                    for row in &row_blocks {
                        for (total, &x) in totals.iter_mut().zip(&row[i]) {
                            *total = K::step(*total, x);
                        }
                    }
                    *block = totals;
                }
                for row in &row_rests {
                    for (total, &x) in rest.iter_mut().zip(*row) {
                        *total = K::step(*total, x);
                    }
                }
            },
        );
    }
}
