//! The sum of squared distances from the mean, in one pass over memory.
//!
//! Each run is measured around its own mean while it is in the cache; the runs are then put together after Chan, Golub & LeVeque 1979.

use super::combine::{Combine, Reduction, Rows, Sum};
use super::elementwise::{CHUNK, Reader};
use super::number::Number;
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

macro_rules! spread {
    ($($type:ty),*) => {$(
        impl Reduction<$type> for Spread {
            type State = Moments;
            const NOTHING: Moments = Moments { count: 0.0, mean: 0.0, squares: 0.0 };

            fn fold(x: &[$type]) -> Moments {
                const LANES: usize = 32;
                let centre = (<Sum as Reduction<$type>>::fold(x) / x.len() as f64) as $type;
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
                Moments::around(f64::from(centre), x.len(), distances, squares)
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

            fn rows(reader: &mut Reader<$type>, rows: Rows, states: &mut [Moments]) {
                let width = states.len();
                let mut sums = [<Sum as Combine<$type>>::WIDE_START; CHUNK];
                <Sum as Reduction<$type>>::rows(reader, rows, &mut sums[..width]);
                let mut centres = [0.0; CHUNK];
                for (centre, sum) in centres.iter_mut().zip(&sums[..width]) {
                    *centre = (sum / rows.count as f64) as $type;
                }
                let (mut distances, mut squares) = ([0.0; CHUNK], [0.0; CHUNK]);
                // They are in the second-level cache by now.
                rows.each(reader, width, |x| {
                    vectorized(
                        #[inline(always)]
                        || {
                            let sums = distances.iter_mut().zip(&mut squares);
                            for ((sums, &x), &centre) in sums.zip(x).zip(&centres) {
                                measure(sums, x, centre);
                            }
                        },
                    );
                });
                for (i, state) in states.iter_mut().enumerate() {
                    let (distances, squares) = (f64::from(distances[i]), f64::from(squares[i]));
                    let found = Moments::around(f64::from(centres[i]), rows.count, distances, squares);
                    *state = <Spread as Reduction<$type>>::merge(*state, found);
                }
            }
        }
    )*};
}
spread!(f32, f64);
