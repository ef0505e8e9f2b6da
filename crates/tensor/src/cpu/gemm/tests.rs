use half::bf16;
use proptest::prelude::*;

use super::Matrix as View;
use super::*;
use crate::cpu::level::Level;
use crate::{BlockFormat, DType, Matrix, Quantized, Tensor};

/// Numbers between -1 and 1, the same for the same seed.
fn draw<T: From<f32>>(count: usize, seed: u32) -> Vec<T> {
    (0..count).map(|i| ((i as f32 * 0.7391 + seed as f32 * 1.37).sin()).into()).collect()
}

/// A matrix of each kind that products meet: rows or columns contiguous, with gaps, neither, or one row again and again.
fn strides(kind: usize, [rows, columns]: [usize; 2]) -> [usize; 2] {
    match kind {
        0 => [columns, 1],
        1 => [1, rows],
        2 => [columns + 5, 1],
        3 => [1, rows + 3],
        4 => [3 * columns, 3],
        _ => [0, 1],
    }
}

struct Case {
    sizes: [usize; 3],
    kinds: [usize; 2],
    prepack: bool,
    add: bool,
    map: bool,
    parallel: bool,
    seed: u32,
}

fn check<T: Real + From<f32> + Into<f64>>(case: &Case, tolerance: f64) {
    let &Case { sizes: [rows, inner, columns], kinds, prepack, add, map, parallel, seed } = case;
    let (a_strides, b_strides) = (strides(kinds[0], [rows, inner]), strides(kinds[1], [inner, columns]));
    let (a, b) = (
        draw::<T>(3 * rows * inner + 8 * (rows + inner) + 1, seed),
        draw::<T>(3 * inner * columns + 8 * (inner + columns) + 1, seed + 1),
    );
    let row = draw::<T>(columns, seed + 2);
    let out_stride = columns + 3;
    let before = draw::<T>(rows * out_stride, seed + 3);
    for level in Level::available() {
        let mut out: Vec<_> = before.iter().copied().map(MaybeUninit::new).collect();
        let a_view = View::new(&a, [rows, inner], a_strides).unwrap();
        let b_view = View::new(&b, [inner, columns], b_strides).unwrap();
        let packed = Packed::pack(b_view, T::kernel(level), parallel).unwrap();
        let right = if prepack { Right::Packed(&packed) } else { Right::Plain(b_view) };
        let options = Options {
            alpha: 0.5f32.into(),
            add: add.then_some(&row[..]),
            map: map.then_some(|x: &[T], y: &mut [MaybeUninit<T>]| {
                for (x, y) in x.iter().zip(y) {
                    y.write(if (*x).into() < 0.0 { T::default() } else { *x });
                }
            }),
            parallel,
        };
        let view = MatrixMut::new(&mut out, [rows, columns], out_stride).unwrap();
        gemm_at(level, view, a_view, right, &options).unwrap();
        for i in 0..rows {
            for j in 0..out_stride {
                let old: f64 = before[i * out_stride + j].into();
                // SAFETY: initialised above.
                let got: f64 = unsafe { out[i * out_stride + j].assume_init() }.into();
                if j >= columns {
                    assert_eq!(got, old, "{level:?}: beyond the last column of row {i}");
                    continue;
                }
                let (mut sum, mut size) = (0.0, 1.0);
                for k in 0..inner {
                    let a: f64 = a[i * a_strides[0] + k * a_strides[1]].into();
                    let product = a * b[k * b_strides[0] + j * b_strides[1]].into();
                    (sum, size) = (sum + product, size + product.abs());
                }
                let added = if add { row[j].into() } else { 0.0 };
                let want = 0.5 * sum + added;
                let want = if map { want.max(0.0) } else { want };
                assert!((got - want).abs() <= tolerance * size, "{level:?} ({i}, {j}): {got}, not {want}");
            }
        }
    }
}

prop_compose! {
    fn cases(most: [usize; 3])(
        rows in 0..most[0],
        inner in 0..most[1],
        columns in 0..most[2],
        kinds in [0usize..6, 0usize..6],
        prepack: bool,
        add: bool,
        map: bool,
        parallel: bool,
        seed in 0u32..1000,
    ) -> Case {
        Case { sizes: [rows, inner, columns], kinds, prepack, add, map, parallel, seed }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?}, kinds {:?}, prepack {}, add {}, map {}, parallel {}, seed {}",
            self.sizes, self.kinds, self.prepack, self.add, self.map, self.parallel, self.seed
        )
    }
}

proptest! {
    #[test]
    fn small_products_equal_their_sums(case in cases([40, 50, 80])) {
        check::<f32>(&case, 1e-6);
        check::<f64>(&case, 2e-15);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// More rows than a task takes, more of the inner dimension than a block holds.
    #[test]
    fn large_products_equal_their_sums(case in cases([400, 900, 150])) {
        check::<f32>(&case, 1e-6);
        check::<f64>(&case, 2e-15);
    }
}

#[test]
fn misfits_are_errors() {
    let data = draw::<f32>(24, 1);
    let (a, b) = (View::new(&data, [4, 6], [6, 1]).unwrap(), View::new(&data, [5, 4], [4, 1]).unwrap());
    let mut out = [MaybeUninit::uninit(); 16];
    let view = MatrixMut::new(&mut out, [4, 4], 4).unwrap();
    assert!(gemm(view, a, Right::Plain(b), &Options::default()).is_err());
    let view = MatrixMut::new(&mut out, [4, 3], 4).unwrap();
    assert!(gemm(view, a, Right::Plain(a.transposed()), &Options::default()).is_err());
    let view = MatrixMut::new(&mut out, [4, 4], 4).unwrap();
    let options = Options { add: Some(&data[..5]), ..Options::default() };
    assert!(gemm(view, a, Right::Plain(a.transposed()), &options).is_err());
    assert!(MatrixMut::new(&mut out, [5, 4], 4).is_err());
    assert!(MatrixMut::new(&mut out, [4, 3], 2).is_err());
    assert!(View::new(&data, [4, 7], [7, 1]).is_err());
    assert!(View::new(&data, [2, 2], [usize::MAX, 1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Floats of every width, turned or not, and blocks, stacked, equal the floats that they stand for.
    #[test]
    fn what_is_made_as_the_product_goes_equals_what_was_made_before(
        rows in 1usize..600, inner in 1usize..12, outputs in 1usize..40, parallel: bool, seed in 0u64..1000,
    ) {
        let inner = 32 * inner;
        let part = |i: u64| crate::testing::draw(&[outputs, inner], (-1.0, 1.0), seed + i);
        let mut parts: Vec<Matrix> = Vec::new();
        for (i, dtype) in (0..).zip([DType::F32, DType::BF16, DType::F16, DType::F64]) {
            let part = part(i).to_dtype(dtype).unwrap();
            parts.push(part.mt().unwrap().copy().unwrap().mt().unwrap().into());
            parts.push(part.into());
        }
        for (i, format) in (10..).zip([BlockFormat::Q4_1, BlockFormat::Q8_0, BlockFormat::Int8]) {
            parts.push(Quantized::quantize(&part(i), format).unwrap().into());
        }
        let floats: Vec<Tensor> = parts.iter().map(|part| part.to_dtype(DType::F32).unwrap()).collect();
        let floats = Tensor::cat(&floats.iter().collect::<Vec<_>>(), 0).unwrap();
        let columns = outputs * parts.len();
        let x = draw::<f32>(rows * inner, seed as u32);
        let stacked = Stacked(&parts);
        for level in Level::available() {
            let run = |right: Right<f32>| {
                let mut out = vec![MaybeUninit::uninit(); rows * columns];
                let view = MatrixMut::new(&mut out, [rows, columns], columns).unwrap();
                let left = View::new(&x, [rows, inner], [inner, 1]).unwrap();
                gemm_at(level, view, left, right, &Options { parallel, ..Options::default() }).unwrap();
                // SAFETY: a product writes every element.
                out.into_iter().map(|x| unsafe { x.assume_init() }).collect::<Vec<f32>>()
            };
            let want = run(Right::Plain(View::of(&floats, 0).unwrap().transposed()));
            for (made, want) in run(Right::Made(&stacked)).iter().zip(want) {
                prop_assert!((made - want).abs() <= 1e-5 * inner as f32, "{:?}: {}, not {}", level, made, want);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Pairs of bfloat16, turned or not, stacked, sum the products of what is rounded; made before or as the product goes, the same bits.
    #[test]
    fn pairs_sum_the_products_of_rounded_numbers(
        rows in 1usize..60, inner in 1usize..700, outputs in 1usize..70, parallel: bool, seed in 0u64..1000,
    ) {
        let part = |i: u64| crate::testing::draw(&[outputs, inner], (-1.0, 1.0), seed + i).to_dtype(DType::BF16).unwrap();
        let turned = |part: Tensor| part.mt().unwrap().copy().unwrap().mt().unwrap();
        let parts = [part(1), turned(part(2)), turned(part(3))];
        // One whose neighbours cannot be read as pairs is not one of pairs.
        let parts = if inner % 2 == 0 { &parts[..] } else { &parts[1..] }.iter().cloned().map(Matrix::from).collect::<Vec<_>>();
        let Some(pairs) = Pairs::of(&parts) else {
            prop_assert!(!Level::available().any(|level| level == Level::Bf16 && level == Level::current()));
            return Ok(());
        };
        let ([depth, columns], x) = (pairs.shape(), draw::<f32>(rows * inner, seed as u32));
        let mut rounded = vec![MaybeUninit::uninit(); rows * depth];
        let rounded = pairs.rounded(&x, &mut rounded).unwrap();
        let run = |right: Right<f32>| {
            let mut out = vec![MaybeUninit::uninit(); rows * columns];
            let view = MatrixMut::new(&mut out, [rows, columns], columns).unwrap();
            let left = View::new(rounded, [rows, depth], [depth, 1]).unwrap();
            gemm(view, left, right, &Options { parallel, ..Options::default() }).unwrap();
            // SAFETY: a product writes every element.
            out.into_iter().map(|x| unsafe { x.assume_init() }).collect::<Vec<f32>>()
        };
        let made = run(Right::Made(&pairs));
        prop_assert_eq!(&run(Right::Packed(&Packed::made(&pairs).unwrap())), &made);
        let floats: Vec<Tensor> = parts.iter().map(|part| part.to_dtype(DType::F64).unwrap()).collect();
        let floats = Tensor::cat(&floats.iter().collect::<Vec<_>>(), 0).unwrap();
        let weights = floats.as_slice::<f64>().unwrap();
        for (x, made) in x.chunks(inner).zip(made.chunks(columns)) {
            for (weights, got) in weights.chunks(inner).zip(made) {
                let product = |(x, w): (&f32, &f64)| f64::from(bf16::from_f32(*x)) * w;
                let (sum, size) = x.iter().zip(weights).map(product).fold((0.0, 1.0), |(sum, size), p| (sum + p, size + p.abs()));
                prop_assert!((f64::from(*got) - sum).abs() <= 1e-6 * size, "{}, not {}", got, sum);
            }
        }
    }
}
