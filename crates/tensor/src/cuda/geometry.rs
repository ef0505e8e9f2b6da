//! How kernels are launched: which threads do what, said once for all of them. The kernels themselves take any grid, and loop.

/// Threads and memory of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// Bytes of shared memory that the kernel does not declare itself.
    pub shared: u32,
}

/// Lanes of a warp.
pub const WARP: usize = 32;
/// Neighbours that a thread reads at once.
pub const EACH: usize = 4;
/// Blocks in x beyond which they loop: some waves of the largest GPU, and few enough that a tail costs nothing.
const BLOCKS: usize = 4096;
/// The largest grid in y and z.
pub const HIGHEST: usize = 65_535;

/// `count` elements, `each` by one thread.
pub fn elements(count: usize, each: usize) -> Geometry {
    let blocks = count.div_ceil(256 * each).clamp(1, BLOCKS);
    Geometry { grid: [blocks as u32, 1, 1], block: [256, 1, 1], shared: 0 }
}

/// `rows` rows of `width` elements: a warp for each while they are narrow, eight to a block, and else a block. Norms keep eight elements a thread.
pub fn rows(rows: usize, width: usize) -> Geometry {
    let (across, down) = match width {
        0..=256 => (WARP, 8),
        // Four elements a thread hide the latency of memory; more threads than 1024 there are not.
        _ => ((width / 4).next_multiple_of(WARP).min(1024), 1),
    };
    let blocks = rows.div_ceil(down).clamp(1, BLOCKS);
    Geometry { grid: [blocks as u32, 1, 1], block: [across as u32, down as u32, 1], shared: 0 }
}

/// Sums over `rows` rows for each of `width` columns: so many shares of rows side by side that they fill a GPU, for a second pass to add.
pub fn columns(rows: usize, width: usize) -> (Geometry, usize) {
    let across = elements(width, 1);
    let wanted = (512 / across.grid[0] as usize).max(1);
    let share = rows.div_ceil(rows.div_ceil(64).clamp(1, wanted)).max(1);
    // Shares are rounded up, so that there may be fewer than were wanted.
    let shares = rows.div_ceil(share).max(1);
    (Geometry { grid: [across.grid[0], shares as u32, 1], ..across }, share)
}

/// What a GPU has for blocks: multiprocessors, and the bytes of shared memory of each.
#[derive(Clone, Copy, Debug)]
pub struct Processors {
    pub count: usize,
    pub shared: usize,
}

/// How the prefill kernel shares out rows and keys, as its macros say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Warps of a block.
    pub warps: usize,
    /// Tiles of 16 rows that each of them has.
    pub tall: usize,
    /// Keys of a step.
    pub keys: usize,
}

/// Attention of many rows: a block for so many rows of a head of a sequence, `longest` of which is the most of one. With the form, and the tiles of
/// rows that each sequence has.
pub fn prefill(
    sequences: usize,
    longest: usize,
    heads: usize,
    (dim, value_dim, element): (usize, usize, usize),
    on: Processors,
) -> (Geometry, Form, usize) {
    /// What a block may have of shared memory on every generation.
    const MOST: usize = 64 << 10;
    const FORMS: [Form; 4] = [
        Form { warps: 4, tall: 2, keys: 64 },
        Form { warps: 4, tall: 1, keys: 64 },
        Form { warps: 4, tall: 1, keys: 32 },
        Form { warps: 2, tall: 1, keys: 16 },
    ];
    let [dim, value_dim] = [dim, value_dim].map(|dim| row_bytes(dim, element));
    let rows = |form: Form| form.warps * form.tall * 16;
    let bytes = |form: Form| rows(form) * dim + form.keys * (dim + value_dim);
    let tiles = |form: Form| longest.div_ceil(rows(form)).max(1);
    let suits = |form: Form| {
        // Taller warps read less for what they compute: worth it where matrix units compute it, where there are blocks enough for two on every
        // processor, with room for both, and where a lane has registers for the sums.
        let is_tall = element == 2
            && longest >= rows(form)
            && sequences * heads * tiles(form) >= 2 * on.count
            && 2 * (bytes(form) + TAKEN) <= on.shared
            && value_dim / element <= 128;
        bytes(form) <= MOST && (form.tall == 1 || is_tall)
    };
    let [.., least] = FORMS;
    let form = FORMS.into_iter().find(|&form| suits(form)).unwrap_or(least);
    let tiles = tiles(form);
    (of_tiles(tiles * sequences, heads, form.warps, bytes(form)), form, tiles)
}

/// Bytes of shared memory that a block of attention takes besides what it asks for.
pub const TAKEN: usize = 1 << 10;

/// What a row of `dim` elements has of shared memory: whole rows of its banks.
fn row_bytes(dim: usize, element: usize) -> usize {
    (dim * element).next_multiple_of(128)
}

/// A block of `warps` warps with so many bytes of shared memory for each tile of each head.
fn of_tiles(tiles: usize, heads: usize, warps: usize, bytes: usize) -> Geometry {
    // So many there are not.
    let tiles = u32::try_from(tiles).unwrap_or(u32::MAX);
    Geometry { grid: [tiles, heads as u32, 1], block: [(warps * WARP) as u32, 1, 1], shared: bytes as u32 }
}

/// The gradients of attention: a block for so many rows of queries or of keys, `longest` of which is the most of a sequence. With the warps, 16 rows each,
/// and the tiles of rows that each sequence has.
pub fn gradient(
    sequences: usize,
    longest: usize,
    heads: usize,
    (dim, value_dim, element): (usize, usize, usize),
) -> (Geometry, usize, usize) {
    /// Rows of the other side that pass by at a time.
    const STEP: usize = 32;
    let wide = row_bytes(dim, element) + row_bytes(value_dim, element);
    let bytes = |warps: usize| (warps * 16 + STEP) * wide;
    let warps = [4, 2].into_iter().find(|&warps| bytes(warps) <= 60 << 10).unwrap_or(1);
    let tiles = longest.div_ceil(warps * 16).max(1);
    (of_tiles(tiles * sequences, heads, warps, bytes(warps)), warps, tiles)
}

/// Warps of a block of the decode kernel.
pub const DECODE_WARPS: usize = 4;
/// Query heads of one key head that read keys together: as many as have room in registers.
pub fn decode_group(group: usize, dim: usize) -> usize {
    group.min(if dim <= 128 { 4 } else { 2 })
}

/// Attention of single rows over `keys` keys at most, split into parts so that a GPU is filled also by one sequence; with the parts. Each key
/// head has `chunks` of [`decode_group`] query heads.
pub fn decode(rows: usize, kv_heads: usize, chunks: usize, keys: usize) -> (Geometry, usize) {
    let heads = kv_heads * chunks;
    // A part is worth its merging from some keys on.
    let parts = (512 / (rows * heads).max(1)).clamp(1, keys.div_ceil(128).max(1));
    let grid = [parts as u32, heads as u32, rows as u32];
    (Geometry { grid, block: [(DECODE_WARPS * WARP) as u32, 1, 1], shared: 0 }, parts)
}

/// Vectors that a matrix of floats meets as fast as it can be read.
pub const STREAMED: usize = 4;
/// Warps of a block that has rows of a matrix, and of one that has columns.
const ROW_WARPS: usize = 8;
const COLUMN_WARPS: usize = 16;

/// Products of `vectors` such vectors of `depth` elements of `size` bytes with a matrix that has a row for each of so many `outputs`: a warp for some
/// rows, and how many warps share the same.
pub fn stream(
    outputs: usize,
    (vectors, depth, size): (usize, usize, usize),
    processors: usize,
) -> (Geometry, usize) {
    /// Bytes that a warp asks for at once.
    const AT_ONCE: usize = 8 * WARP * 16;
    let together = if vectors <= 2 { 2 } else { 4 };
    let warps = outputs.div_ceil(together);
    let shares = shares(warps, (depth * size * together).div_ceil(AT_ONCE), processors);
    let blocks = warps.div_ceil(ROW_WARPS / shares);
    // No more than run at once, and as many rows for each: what they do first, they do once.
    let turns = blocks.div_ceil((2 * processors).max(1));
    (vectors_in_blocks(blocks.div_ceil(turns), ROW_WARPS, vectors * depth * size), shares)
}

/// The same for a matrix with a column for each output, and how many lanes read neighbours: the fewer, the more blocks.
pub fn stream_turned(
    outputs: usize,
    (vectors, depth, size): (usize, usize, usize),
    processors: usize,
) -> (Geometry, usize) {
    let blocks = |across: usize| (outputs * size).div_ceil(across * 16);
    // No less than memory gives at once.
    let across = if blocks(4) >= processors { 4 } else { 2 };
    (vectors_in_blocks(blocks(across), COLUMN_WARPS, vectors * depth * size), across)
}

fn vectors_in_blocks(blocks: usize, warps: usize, bytes: usize) -> Geometry {
    let grid = [blocks.clamp(1, BLOCKS) as u32, 1, 1];
    Geometry { grid, block: [(warps * WARP) as u32, 1, 1], shared: bytes as u32 }
}

/// Vectors that share one reading of blocks, of `vectors` that meet them as they are stored.
pub fn sharing(vectors: usize) -> usize {
    if vectors == 1 { 1 } else { 4 }
}

/// Products of `vectors` vectors with a matrix in blocks, of `rows` rows of `columns` elements: a warp for some rows, to read vectors once for all of
/// them.
pub fn blocks(rows: usize, vectors: usize, columns: usize, processors: usize) -> Geometry {
    /// Elements of a row that a warp reads at once.
    const AT_ONCE: usize = 32 * WARP;
    let together = if vectors == 1 { 4 } else { 2 };
    let warps = rows.div_ceil(together);
    let shares = shares(warps, columns.div_ceil(AT_ONCE), processors);
    let side = (4 / shares).max(1);
    let groups = vectors.div_ceil(sharing(vectors)).clamp(1, HIGHEST);
    let grid = [warps.div_ceil(side).clamp(1, HIGHEST) as u32, groups as u32, 1];
    Geometry { grid, block: [WARP as u32, shares as u32, side as u32], shared: 0 }
}

/// How many warps have the same rows, of which `warps` would have their own, each in so many `steps`. What they have asked for is to keep the memory of all
/// processors busy: where they are too few, rows are shared by more, while there is something to share.
fn shares(warps: usize, steps: usize, processors: usize) -> usize {
    let is_enough = |shares: &usize| warps * shares >= 12 * processors || steps <= *shares;
    [1, 2, 4].into_iter().find(is_enough).unwrap_or(ROW_WARPS)
}

/// Tokens of a row that a block looks through where they are drawn: so many blocks that few rows fill a GPU.
pub const RUN: usize = 2048;

/// Tokens drawn from `rows` rows of `width` logits: a block for each run of each row, and then one for each row.
pub fn drawing(rows: usize, width: usize) -> (Geometry, Geometry) {
    let (runs, down) = (width.div_ceil(RUN).max(1), rows.clamp(1, HIGHEST));
    let of = |x: usize, y: usize| Geometry { grid: [x as u32, y as u32, 1], block: [256, 1, 1], shared: 0 };
    (of(runs, down), of(down, 1))
}
