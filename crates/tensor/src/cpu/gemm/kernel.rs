//! What the innermost loops are, and the ones that run on any processor.

use std::mem::MaybeUninit;

use half::bf16;

use crate::Element;
use crate::cpu::level::Level;

/// One tile of a product: `c = alpha · a b + add`.
pub(super) struct Tile<T> {
    /// How many products each element of the tile sums.
    pub(super) inner: usize,
    /// `inner` columns of the left matrix, each of the tile's height, one after another.
    pub(super) a: *const T,
    /// `inner` rows of the right matrix, each as wide as the kernel, `b_stride` apart.
    pub(super) b: *const T,
    pub(super) b_stride: usize,
    /// Where several tiles meet these rows of the right matrix, how many elements behind each row lies what this tile fetches for them all.
    /// The cache holds the rows; those of the next block are on their way meanwhile, so that neither waits for the other.
    pub(super) next: Option<usize>,
    pub(super) c: *mut T,
    pub(super) c_stride: usize,
    pub(super) alpha: T,
    /// Null for nothing. A stride of 0 adds the same row everywhere.
    pub(super) add: *const T,
    pub(super) add_stride: usize,
}

/// What is packed: `lanes` runs of `inner` elements each.
pub(crate) struct Runs<T> {
    pub(crate) data: *const T,
    pub(crate) lanes: usize,
    pub(crate) lane_stride: isize,
    pub(crate) inner: usize,
    pub(crate) inner_stride: isize,
}

/// The innermost loops of a product, for one level and one type.
pub(crate) struct Kernel<T> {
    /// The greatest height of a tile.
    pub(super) rows: usize,
    /// The width of every tile.
    pub(super) columns: usize,
    /// Computes a tile of `1..=rows` rows. All that the tile names must be there, `c` written by nobody else meanwhile.
    pub(super) tile: unsafe fn(rows: usize, &Tile<T>),
    /// Lays runs side by side: element `i` of lane `l` goes to `to[i * width + l]`. All of both must be there.
    pub(crate) pack: unsafe fn(&Runs<T>, to: *mut T, width: usize),
}

impl<T> Kernel<T> {
    /// Zeros a panel of `lanes` columns, unless they are as many as the kernel's: tiles are computed whole, so what is beyond the last
    /// column must be a number.
    ///
    /// # Safety
    /// `to` must have room for `inner` rows of the kernel's width.
    pub(super) unsafe fn clear(&self, lanes: usize, inner: usize, to: *mut T) {
        if lanes < self.columns {
            // SAFETY: as the caller promises.
            unsafe { to.write_bytes(0, inner * self.columns) }
        }
    }
}

/// A type with kernels.
pub(crate) trait Real: Element + Default + PartialEq + Send + Sync {
    const ONE: Self;

    /// The kernel for a level that the processor has.
    fn kernel(level: Level) -> &'static Kernel<Self>;

    fn plus(self, other: Self) -> Self;
}

macro_rules! real {
    ($type:ident, $columns:literal, $avx2:ident, $avx512:ident) => {
        impl Real for $type {
            const ONE: $type = 1.0;

            fn kernel(level: Level) -> &'static Kernel<$type> {
                static PORTABLE: Kernel<$type> =
                    Kernel { rows: 6, columns: $columns, tile: portable::$type, pack: portable::pack };
                match level {
                    #[cfg(target_arch = "x86_64")]
                    level if level >= Level::Avx512 => &super::x86::$avx512::KERNEL,
                    #[cfg(target_arch = "x86_64")]
                    level if level >= Level::Avx2 => &super::x86::$avx2::KERNEL,
                    _ => &PORTABLE,
                }
            }

            fn plus(self, other: $type) -> $type {
                self + other
            }
        }
    };
}
real!(f32, 8, f32_avx2, f32_avx512);
real!(f64, 4, f64_avx2, f64_avx512);

/// What multiplies pairs of bfloat16, a pair in the bits of each float32 of the operands.
pub(super) struct PairKernel {
    /// Its sums are of float32.
    pub(super) kernel: &'static Kernel<f32>,
    /// Rounds floats to bfloat16, to the nearest, ties to even; a last one that has no neighbour makes a pair with zero.
    pub(super) round: unsafe fn(&[f32], &mut [MaybeUninit<f32>]),
    /// Lays runs side by side as [`Kernel::pack`] does, where elements of neighbouring lanes are neighbours: each two elements of a lane
    /// become a pair, and a last one that has no neighbour makes one with zero.
    pub(super) interleave: unsafe fn(&Runs<bf16>, to: *mut f32, width: usize),
}

impl PairKernel {
    /// That of a level, which the processor must have, if there is one.
    pub(super) fn of(level: Level) -> Option<&'static PairKernel> {
        match level {
            #[cfg(target_arch = "x86_64")]
            level if level >= Level::Bf16 => Some(&super::x86::PAIRS),
            _ => None,
        }
    }
}

/// Plain loops, which the compiler turns into whatever vectors the target has.
pub(super) mod portable {
    use super::{Runs, Tile};

    macro_rules! tiles {
        ($type:ident, $columns:literal) => {
            /// See [`super::Kernel::tile`].
            pub(in super::super) unsafe fn $type(rows: usize, tile: &Tile<$type>) {
                unsafe fn tile_of<const ROWS: usize>(tile: &Tile<$type>) {
                    let mut sums = [[0.0; $columns]; ROWS];
                    for k in 0..tile.inner {
                        // SAFETY: the caller answers for the operands.
                        let (a, b) = unsafe {
                            (
                                &*tile.a.add(k * ROWS).cast::<[$type; ROWS]>(),
                                &*tile.b.add(k * tile.b_stride).cast::<[$type; $columns]>(),
                            )
                        };
                        for row in 0..ROWS {
                            for column in 0..$columns {
                                sums[row][column] += a[row] * b[column];
                            }
                        }
                    }
                    for (row, sums) in sums.iter().enumerate() {
                        for (column, sum) in sums.iter().enumerate() {
                            // SAFETY: the caller answers for the addend and the result.
                            unsafe {
                                let add = match tile.add.is_null() {
                                    true => 0.0,
                                    false => *tile.add.add(row * tile.add_stride + column),
                                };
                                tile.c.add(row * tile.c_stride + column).write(tile.alpha * sum + add);
                            }
                        }
                    }
                }
                // SAFETY: as the caller's; the height is the tile's.
                unsafe {
                    match rows {
                        1 => tile_of::<1>(tile),
                        2 => tile_of::<2>(tile),
                        3 => tile_of::<3>(tile),
                        4 => tile_of::<4>(tile),
                        5 => tile_of::<5>(tile),
                        _ => tile_of::<6>(tile),
                    }
                }
            }
        };
    }
    tiles!(f32, 8);
    tiles!(f64, 4);

    /// See [`super::Kernel::pack`].
    pub(in super::super) unsafe fn pack<T: Copy>(runs: &Runs<T>, to: *mut T, width: usize) {
        /// Elements of a run that are read at once: a cache line of the longest type.
        const BLOCK: usize = 8;
        for first in (0..runs.inner).step_by(BLOCK) {
            let last = (first + BLOCK).min(runs.inner);
            for lane in 0..runs.lanes {
                // SAFETY: the caller answers for both ends of every copy.
                unsafe {
                    let from = runs.data.offset(lane as isize * runs.lane_stride);
                    for i in first..last {
                        *to.add(i * width + lane) = *from.offset(i as isize * runs.inner_stride);
                    }
                }
            }
        }
    }
}
