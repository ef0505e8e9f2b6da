//! Tiles of products of quads: unsigned bytes on the left, signed ones on the right.

use super::{QUAD, WIDTH};
use crate::cpu::gemv::LANES;
use crate::cpu::level::Level;

/// Some rows of codes that meet two panels of weights.
pub(super) struct Tile {
    /// How many quads each sum is of.
    pub(super) depth: usize,
    /// The quads of the first row, and how many words behind them those of the next one are.
    pub(super) rows: *const i32,
    pub(super) stride: usize,
    /// The quads of sixteen outputs, one of each after another.
    pub(super) panels: [*const i32; 2],
    /// The sums of the first row.
    pub(super) sums: *mut [i32; WIDTH],
    /// Where what becomes of them will be written, and how far apart rows are there.
    pub(super) out: *const f32,
    pub(super) out_stride: usize,
}

/// The innermost loops of a level.
pub(super) struct Kernel {
    /// The greatest height of a tile.
    pub(super) rows: usize,
    /// Computes a tile of `1..=rows` rows. All operands that it names must be there, and the sums written by nobody else meanwhile.
    pub(super) tile: unsafe fn(rows: usize, &Tile),
}

/// The greatest height of any kernel.
pub(super) const MAX_ROWS: usize = 14;

impl Kernel {
    /// That of a level that the processor has.
    pub(super) fn of(level: Level) -> &'static Kernel {
        match level {
            #[cfg(target_arch = "x86_64")]
            level if level >= Level::Vnni => &super::x86::VNNI,
            #[cfg(target_arch = "x86_64")]
            level if level >= Level::Avx2 => &super::x86::AVX2,
            _ => &PORTABLE,
        }
    }
}

static PORTABLE: Kernel = Kernel { rows: 4, tile };

/// See [`Kernel::tile`]: what the products are.
unsafe fn tile(rows: usize, tile: &Tile) {
    for row in 0..rows {
        for (part, panel) in tile.panels.into_iter().enumerate() {
            let mut sums = [0_i32; LANES];
            for k in 0..tile.depth {
                // SAFETY: the caller answers for the operands.
                let (a, b) = unsafe {
                    (
                        *tile.rows.add(row * tile.stride + k),
                        &*panel.add(k * LANES).cast::<[[i8; QUAD]; LANES]>(),
                    )
                };
                let a = a.to_ne_bytes();
                for (sum, b) in sums.iter_mut().zip(b) {
                    for i in 0..QUAD {
                        *sum += i32::from(a[i]) * i32::from(b[i]);
                    }
                }
            }
            // SAFETY: the caller answers for the sums.
            unsafe { tile.sums.add(row).cast::<[i32; LANES]>().add(part).write(sums) }
        }
    }
}
