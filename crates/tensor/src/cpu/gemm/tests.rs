use proptest::prelude::*;

use super::*;
use crate::cpu::level::Level;

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
        let a_view = Matrix::new(&a, [rows, inner], a_strides).unwrap();
        let b_view = Matrix::new(&b, [inner, columns], b_strides).unwrap();
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
    let (a, b) = (Matrix::new(&data, [4, 6], [6, 1]).unwrap(), Matrix::new(&data, [5, 4], [4, 1]).unwrap());
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
    assert!(Matrix::new(&data, [4, 7], [7, 1]).is_err());
    assert!(Matrix::new(&data, [2, 2], [usize::MAX, 1]).is_err());
}
