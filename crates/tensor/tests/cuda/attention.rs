//! Attention of many rows and of one, over drawn lengths, heads, masks and forms of keys.

use trustformers_tensor::ops::{StoreForm, store_rows};
use trustformers_tensor::{Attention, DType, Device, Generator, Mask, Ragged, Tensor};

use crate::arguments::{Dropped, Shared, reach};
use crate::device::{Argument, Memory, Module};
use crate::driver::is_alone;
use crate::geometry::{Form, Geometry, Processors, WARP, decode, decode_group, gradient, prefill};
use crate::{close, draw, launch, name, numbers, single, tolerance};

/// One attention to be tried.
#[derive(Clone)]
struct Case {
    dtype: DType,
    kept: &'static str,
    heads: usize,
    kv_heads: usize,
    dim: usize,
    value_dim: usize,
    /// Rows and keys of each sequence.
    lengths: Vec<(usize, usize)>,
    mask: Mask,
    softcap: Option<f32>,
    biased: bool,
}

impl Case {
    fn new(dtype: DType, kept: &'static str, lengths: &[(usize, usize)]) -> Case {
        let mask = Mask::default();
        let (heads, kv_heads, dim, value_dim) = (2, 1, 16, 16);
        let lengths = lengths.to_vec();
        Case { dtype, kept, heads, kv_heads, dim, value_dim, lengths, mask, softcap: None, biased: false }
    }

    fn causal(self) -> Case {
        Case { mask: Mask { causal: true, window: None }, ..self }
    }

    fn window(self, causal: bool, window: usize) -> Case {
        Case { mask: Mask { causal, window: Some(window) }, ..self }
    }

    fn heads(self, heads: usize, kv_heads: usize, dim: usize, value_dim: usize) -> Case {
        Case { heads, kv_heads, dim, value_dim, ..self }
    }

    fn run(&self) {
        let Case { dtype, heads, kv_heads, dim, value_dim, .. } = *self;
        let mut ragged = Ragged::default();
        let mut keys = 3;
        for &(rows, count) in &self.lengths {
            // Sequences lie apart, in whatever order a cache has them.
            ragged.push_at(rows, keys, count);
            keys += count + 2;
        }
        let rows = ragged.total();
        // Queries lie among others, as they come out of one product for all three.
        let packed = draw(&[rows, 3, heads, dim], (-2.0, 2.0), dtype, 1);
        let query = packed.select(1, 1).unwrap();
        let store = |dim: usize, seed: u64| {
            let x = draw(&[keys, kv_heads, dim], (-2.0, 2.0), DType::F32, seed);
            let form = match self.kept {
                "int8" => StoreForm::Int8,
                "f16" => StoreForm::F16,
                "bf16" => return x.to_dtype(DType::BF16).unwrap(),
                _ => StoreForm::F32,
            };
            let store = form.zeros(keys, kv_heads, dim, Device::Cpu).unwrap();
            let places = (0..keys).map(|row| [row, row]).collect();
            store_rows([&store, &x], [&store, &x], &places).unwrap();
            store
        };
        let (key, value) = (store(dim, 2), store(value_dim, 3));
        let biases: Vec<Tensor> = ragged
            .sequences()
            .iter()
            .map(|s| {
                let bias = draw(&[heads, 1, s.keys], (-3.0, 3.0), DType::F32, 4);
                // Some keys are hidden.
                bias.to_dtype(DType::F32)
                    .unwrap()
                    .masked_fill(&bias.gt(2.0).unwrap(), f64::NEG_INFINITY)
                    .unwrap()
            })
            .collect();

        let wide = single(&query);
        let floats = |x: &Tensor| if x.dtype() == DType::BF16 { single(x) } else { x.clone() };
        let (wide_key, wide_value) = (floats(&key), floats(&value));
        let want = Attention {
            mask: self.mask,
            softcap: self.softcap,
            bias: self.biased.then_some(&biases),
            ..Attention::new(&wide, &wide_key, &wide_value, &ragged)
        };
        let want = want.run().unwrap().context;

        let sequences: Vec<i64> = ragged
            .sequences()
            .iter()
            .flat_map(|s| [s.start, s.rows, s.key_start, s.keys].map(|x| x as i64))
            .collect();
        let sequences = Memory::of_slice(&sequences);
        let bias_memory: Vec<Memory> = biases.iter().filter(|_| self.biased).map(Memory::of).collect();
        let places: Vec<i64> = bias_memory
            .iter()
            .zip(ragged.sequences())
            .flat_map(|(memory, s)| [memory.address() as i64, s.keys as i64, 0, 1])
            .collect();
        let places = self.biased.then(|| Memory::of_slice(&places));
        let (back, ahead) = reach(self.mask);
        let strides = |x: &Tensor| [x.layout().strides()[0] as i64, x.layout().strides()[1] as i64];
        let mut all = [0; 6];
        all.chunks_exact_mut(2)
            .zip([strides(&query), strides(&key), strides(&value)])
            .for_each(|(to, from)| to.copy_from_slice(&from));
        let shared = Shared {
            strides: all,
            group: (heads / kv_heads) as i64,
            back,
            ahead,
            scale: (dim as f32).sqrt().recip(),
            softcap: self.softcap.unwrap_or(0.0),
        };
        let (key, value) = (Memory::of(&key), Memory::of(&value));
        let memory = Memory::of(&packed);
        let query_at = memory.address() + (heads * dim * dtype.size()) as u64;
        let what = format!(
            "{dtype} {} {heads}/{kv_heads} {dim}/{value_dim} {:?} {:?}",
            self.kept, self.lengths, self.mask
        );
        let module = |file: &str, more: String| {
            let own =
                format!("T={} KEPT={} HEAD_DIM={dim} VALUE_DIM={value_dim} {more}", name(dtype), self.kept);
            Module::new(file, &own.split(' ').collect::<Vec<_>>())
        };
        let near = 4.0 * tolerance(dtype);
        let arguments = || Argument::of(shared);

        let longest = self.lengths.iter().map(|length| length.0).max().unwrap_or(0);
        let sizes = (dim, value_dim, dtype.size());
        // GPUs that few blocks fill, and one that none do.
        let forms = [1, 1000].map(|count| {
            prefill(self.lengths.len(), longest, heads, sizes, Processors { count, shared: 228 << 10 })
        });
        for (at, Form { warps, tall, keys }, tiles) in &forms[usize::from(forms[0] == forms[1])..] {
            let module = module("prefill", format!("WARPS={warps} TALL={tall} KEYS={keys} DROPS=0"));
            let (out, sums) = (Memory::new(want.numel() * dtype.size()), Memory::new(rows * heads * 4));
            // Forwards, and backwards.
            for _ in 0..2 {
                let (shared, tiles) = (arguments(), *tiles as i32);
                let dropped = Argument::of(Dropped::default());
                launch!(
                    module,
                    "prefill",
                    *at,
                    [
                        &out,
                        &sums,
                        query_at,
                        &key,
                        &value,
                        &sequences,
                        places.as_ref(),
                        shared,
                        dropped,
                        tiles
                    ]
                );
                close(&format!("prefill {what} {tall}"), &out.tensor(want.shape(), dtype), &want, near);
                let sums = numbers(&sums.tensor(&[rows, heads], DType::F32));
                assert!(sums.iter().all(|sum| !sum.is_nan()), "{what}");
            }
        }

        if self.lengths.iter().all(|length| length.0 == 1) {
            let together = decode_group(heads / kv_heads, dim);
            let chunks = (heads / kv_heads).div_ceil(together);
            let most = self.lengths.iter().map(|length| length.1).max().unwrap_or(0);
            let (mut at, mut parts) = decode(rows, kv_heads, chunks, most);
            for _ in 0..2 {
                let module = module("decode", format!("GROUP={together}"));
                let left = Memory::new(rows * heads * parts * (value_dim + 2) * 4);
                let out = Memory::new(want.numel() * dtype.size());
                let (chunks, shared) = (chunks as i32, arguments());
                launch!(
                    module,
                    "decode",
                    at,
                    [&out, &left, query_at, &key, &value, &sequences, places.as_ref(), shared, chunks]
                );
                let join = Geometry {
                    grid: [heads as u32, rows as u32, 1],
                    block: [4 * WARP as u32, 1, 1],
                    shared: 0,
                };
                // One part is all there is.
                if parts > 1 {
                    launch!(module, "combine", join, [&out, &left, &sequences, parts as i32]);
                }
                close(&format!("decode {what} in {parts}"), &out.tensor(want.shape(), dtype), &want, near);
                // And in more parts than there may be keys.
                parts += 3;
                at.grid[0] = parts as u32;
            }
        }
    }
}

/// More rows than a tile, a remainder, none, one; more keys than rows and fewer.
const MANY: &[(usize, usize)] = &[(70, 70), (1, 40), (0, 0), (33, 5), (5, 0), (20, 61)];
const ONE: &[(usize, usize)] = &[(1, 300), (1, 1), (1, 0), (1, 33), (1, 129)];

#[test]
fn lengths_and_masks() {
    for lengths in [MANY, ONE] {
        let case = || Case::new(DType::F32, "f32", lengths);
        case().run();
        case().causal().run();
        case().window(true, 7).run();
        case().window(false, 3).run();
        case().window(true, 0).run();
        Case { softcap: Some(2.0), biased: true, ..case().causal() }.run();
    }
}

#[test]
fn heads_and_dtypes() {
    let short = &[(18, 18), (3, 37)];
    for lengths in [&short[..], ONE] {
        Case::new(DType::F32, "f32", lengths).heads(3, 3, 5, 7).causal().run();
        Case::new(DType::F32, "int8", lengths).heads(6, 1, 20, 24).causal().run();
        Case::new(DType::F32, "f16", lengths).heads(4, 2, 64, 64).run();
        Case::new(DType::F16, "f16", lengths).heads(4, 2, 64, 64).causal().run();
        Case::new(DType::BF16, "bf16", lengths).heads(7, 1, 40, 40).causal().run();
        Case::new(DType::BF16, "int8", lengths).heads(2, 1, 128, 128).run();
        Case::new(DType::BF16, "bf16", lengths).heads(2, 1, 256, 256).causal().run();
    }
}

/// More rows than warps of two tiles have, and steps in which some warps see nothing, and some everything.
#[test]
fn tall_warps() {
    let lengths = &[(131, 200), (150, 150), (128, 70)];
    for (dtype, kept) in [(DType::F16, "f16"), (DType::BF16, "bf16"), (DType::BF16, "int8")] {
        let case = || Case::new(dtype, kept, lengths).heads(2, 1, 64, 64);
        case().run();
        case().causal().run();
        case().window(true, 20).run();
        case().window(false, 40).run();
        Case { softcap: Some(2.0), biased: true, ..case().causal() }.run();
    }
    Case::new(DType::BF16, "bf16", &[(140, 160)]).heads(1, 1, 128, 128).causal().run();
    // Heads of whole pieces of 16 bytes that are no whole products, and of none.
    Case::new(DType::F16, "f16", lengths).heads(2, 1, 24, 40).causal().run();
    Case::new(DType::F16, "f16", lengths).heads(2, 1, 20, 33).causal().run();
}

/// Turing's matrix units take f16 alone, eight deep, and it does not copy beside its work.
#[test]
fn an_older_gpu() {
    if is_alone("attention::an_older_gpu", &[("EMULATED_CUDA_CAPABILITY", "7.5")], None) {
        heads_and_dtypes();
        tall_warps();
    }
}

/// Every generation has room for the tiles of heads of 16 bits, and of most of 32.
#[test]
fn gradients_have_room() {
    for (dim, element) in [(16, 2), (64, 2), (100, 2), (256, 2), (64, 4), (128, 4)] {
        let (at, warps, tiles) = gradient(3, 100, 2, (dim, dim, element));
        assert!(at.shared < 63 << 10, "{dim} {element}");
        assert_eq!((at.grid, tiles), ([3 * tiles as u32, 2, 1], 100usize.div_ceil(16 * warps)));
    }
}

/// More than a grid is deep. Most have no rows.
#[test]
fn many_sequences() {
    let mut lengths = vec![(0, 0); 70_000];
    for (at, length) in [(1, (3, 5)), (65_535, (2, 40)), (65_536, (4, 4)), (69_999, (5, 9))] {
        lengths[at] = length;
    }
    Case::new(DType::F32, "f32", &lengths).causal().run();
}

#[test]
fn drawn_batches() {
    for seed in 0..6 {
        let draw = |below: i64, count: usize, salt: u64| {
            let x = Generator::new(100 * salt + seed).integers(0, below, &[count]).unwrap();
            numbers(&x).into_iter().map(|x| x as usize).collect::<Vec<_>>()
        };
        let lengths: Vec<(usize, usize)> = draw(50, 3, 1).into_iter().zip(draw(90, 3, 2)).collect();
        let (mask, group) = (draw(4, 1, 3)[0], 1 + draw(3, 1, 4)[0]);
        let case = Case::new(DType::F32, "f32", &lengths).heads(2 * group, 2, 8, 8);
        match mask {
            0 => case.run(),
            1 => case.causal().run(),
            2 => case.window(true, 1 + draw(40, 1, 5)[0]).run(),
            _ => Case { biased: true, ..case.window(false, draw(20, 1, 6)[0]) }.run(),
        }
    }
}
