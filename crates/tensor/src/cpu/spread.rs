//! The sum of squared distances from the mean, in one pass over memory.
//!
//! Each run is measured around the mean of those before it, the first around its own, and columns at first around one of their numbers;
//! the runs are put together after Chan, Golub & LeVeque 1979. That is near enough: how far such a centre is from the mean of a run is
//! itself part of the sum that is asked for.

use super::columns::{BLOCK, Columns, PerColumn, Rows, blocks};
use super::combine::{Reduction, Sum};
use super::number::Number;
use super::reader::Reader;
use super::simd::vectorized;

pub(super) struct Spread;

/// How many numbers, their mean, and the sum of the squares of their distances from it.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Of `count` numbers that have been measured around `centre`: the sums of their distances from it and of those squared.
    fn around(centre: f64, count: usize, distances: f64, squares: f64) -> Moments {
        let count = count as f64;
        let off = distances / count;
        Moments { count, mean: centre + off, squares: squares - distances * off }
    }
}

/// The distance of `x` from `centre`, and that squared, added to two sums.
#[inline(always)]
fn measure<C: Number + std::ops::Sub<Output = C> + std::ops::Mul<Output = C> + std::ops::Add<Output = C>>(
    (distances, squares): (&mut C, &mut C),
    x: C,
    centre: C,
) {
    let distance = x - centre;
    *distances = *distances + distance;
    *squares = *squares + distance * distance;
}

/// Columns that are measured around their centres.
struct Around<'a, C> {
    centres: &'a [C],
    distances: &'a mut [C],
    squares: &'a mut [C],
}

macro_rules! spread {
    ($($type:ty),*) => {$(
        impl Reduction<$type> for Spread {
            type State = Moments;
            const NOTHING: Moments = Moments { count: 0.0, mean: 0.0, squares: 0.0 };

            fn fold(state: Moments, x: &[$type]) -> Moments {
                const LANES: usize = 64;
                let centre = if state.count > 0.0 {
                    state.mean
                } else {
                    <Sum as Reduction<$type>>::fold(0.0, x) / x.len() as f64
                } as $type;
                let (distances, squares) = vectorized(
                    #[inline(always)]
                    || {
                        let (mut distances, mut squares) = ([0.0; LANES], [0.0; LANES]);
                        let (blocks, rest) = x.as_chunks::<LANES>();
                        for block in blocks {
                            for ((d, s), &x) in distances.iter_mut().zip(&mut squares).zip(block) {
                                measure((d, s), x, centre);
                            }
                        }
                        for ((d, s), &x) in distances.iter_mut().zip(&mut squares).zip(rest) {
                            measure((d, s), x, centre);
                        }
                        let mut totals = (0.0, 0.0);
                        for (&d, &s) in distances.iter().zip(&squares) {
                            totals.0 += f64::from(d);
                            totals.1 += f64::from(s);
                        }
                        totals
                    },
                );
                let found = Moments::around(f64::from(centre), x.len(), distances, squares);
                <Spread as Reduction<$type>>::merge(state, found)
            }

            fn merge(a: Moments, b: Moments) -> Moments {
                if a.count == 0.0 || b.count == 0.0 {
                    return if a.count == 0.0 { b } else { a };
                }
                let count = a.count + b.count;
                let apart = b.mean - a.mean;
                Moments {
                    count,
                    mean: a.mean + apart * (b.count / count),
                    squares: a.squares + b.squares + apart * apart * (a.count * b.count / count),
                }
            }

            fn finish(state: Moments) -> $type {
                state.squares as $type
            }

            fn rows(reader: &Reader<$type>, rows: Rows, states: &mut [Moments]) {
                let width = states.len();
                let mut room = [const { PerColumn::new() }; 3];
                let [centres, distances, squares] = &mut room;
                let centres = centres.copy(reader, rows.first, width);
                for (centre, state) in centres.iter_mut().zip(&*states).filter(|(_, state)| state.count > 0.0) {
                    *centre = state.mean as $type;
                }
                let mut around =
                    Around { centres, distances: distances.fill(width, 0.0), squares: squares.fill(width, 0.0) };
                rows.each(reader, width, &mut around);
                for (i, state) in states.iter_mut().enumerate() {
                    let (distances, squares) = (f64::from(around.distances[i]), f64::from(around.squares[i]));
                    let found = Moments::around(f64::from(around.centres[i]), rows.count, distances, squares);
                    *state = <Spread as Reduction<$type>>::merge(*state, found);
                }
            }
        }

        impl Columns<$type> for Around<'_, $type> {
            fn take<const N: usize>(&mut self, rows: [&[$type]; N]) {
                let (centres, rest_centres) = self.centres.as_chunks::<BLOCK>();
                let (distances, rest_distances) = self.distances.as_chunks_mut::<BLOCK>();
                let (squares, rest_squares) = self.squares.as_chunks_mut::<BLOCK>();
                let (blocks, rests) = blocks(rows);
                vectorized(
                    #[inline(always)]
                    || {
                        for (i, ((ds, ss), &centres)) in distances.iter_mut().zip(squares).zip(centres).enumerate() {
                            // Copies stay in registers, whatever the rows may share their memory with.
                            let (mut d, mut s) = (*ds, *ss);
                            for row in &blocks {
                                for (((d, s), &x), &centre) in d.iter_mut().zip(&mut s).zip(&row[i]).zip(&centres) {
                                    measure((d, s), x, centre);
                                }
                            }
                            (*ds, *ss) = (d, s);
                        }
                        for row in &rests {
                            let sums = rest_distances.iter_mut().zip(&mut *rest_squares);
                            for ((sums, &x), &centre) in sums.zip(*row).zip(rest_centres) {
                                measure(sums, x, centre);
                            }
                        }
                    },
                );
            }
        }
    )*};
}
spread!(f32, f64);
