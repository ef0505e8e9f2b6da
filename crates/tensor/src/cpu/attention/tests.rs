use super::*;
use crate::ops::{Generator, Mask, Places, Ragged, StoreForm, store_rows, stored_rows};
use crate::{DType, Device};

fn run(level: Level, attention: &Attention) -> Tensor {
    let query = attention.query.shape();
    let out = Tensor::zeros(&[query[0], query[1] * Kept::of(attention.value).dim]).unwrap();
    attention_at(level, &out, attention).unwrap();
    out
}

/// Every level against the composed form in f64, for blocks (many rows) and stretches (few), over sizes around those of vectors.
#[test]
fn every_level_agrees_with_doubles() {
    let double = |shape: &[usize], seed| Generator::new(seed).normal(shape, DType::F64).unwrap();
    let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
    let masks = [(false, None), (true, None), (true, Some(70)), (false, Some(9))];
    let lengths = [(1, 1), (1, 300), (2, 65), (3, 3), (17, 130), (100, 100), (230, 64), (5, 0), (0, 4)];
    for ((kv_heads, group, head_dim, value_dim), seed) in
        [(2, 1, 16, 16), (1, 3, 5, 19), (2, 2, 33, 8), (1, 8, 64, 64)].into_iter().zip(0..)
    {
        let mut ragged = Ragged::default();
        for (rows, keys) in lengths {
            ragged.push_at(rows, rows % 7, keys);
        }
        let query = double(&[ragged.total(), kv_heads * group, head_dim], seed);
        let key = double(&[310, kv_heads, head_dim], seed + 10);
        let value = double(&[310, kv_heads, value_dim], seed + 20);
        let bias: Vec<Tensor> =
            ragged.sequences().iter().map(|s| double(&[1, s.rows, s.keys], seed + 30)).collect();
        for ((causal, window), biased) in masks.into_iter().zip([true, false, true, false]) {
            let mask = Mask { causal, window };
            let softcap = (window == Some(70)).then_some(3.0);
            let attention = Attention::new(&query, &key, &value, &ragged);
            let bias_of = |bias| biased.then_some(bias);
            let want =
                Attention { mask, softcap, bias: bias_of(&bias[..]), ..attention }.run().unwrap().context;
            let want = want.as_slice::<f64>().unwrap().to_vec();
            let (query, key, value) = (single(&query), single(&key), single(&value));
            let bias: Vec<Tensor> = bias.iter().map(single).collect();
            let attention = Attention::new(&query, &key, &value, &ragged);
            let attention = Attention { mask, softcap, bias: bias_of(&bias[..]), ..attention };
            for level in Level::available() {
                let got = run(level, &attention);
                for (i, (got, want)) in got.as_slice::<f32>().unwrap().iter().zip(&want).enumerate() {
                    let off = (f64::from(*got) - want).abs();
                    assert!(
                        off < 1e-4,
                        "{level:?}, {mask:?}, head_dim {head_dim}: element {i} is {got}, not {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_is_not_hidden() {
    for rows in [1, 40] {
        let mut ragged = Ragged::default();
        ragged.push_at(rows, 0, 50);
        let (query, key) = (
            Tensor::ones(&[rows, 1, 4], DType::F32).unwrap(),
            Tensor::ones(&[50, 1, 4], DType::F32).unwrap(),
        );
        key.narrow(0, 30, 31).unwrap().fill_(f64::NAN).unwrap();
        let value = Tensor::ones(&[50, 1, 4], DType::F32).unwrap();
        let attended = run(Level::current(), &Attention::new(&query, &key, &value, &ragged));
        assert!(attended.as_slice::<f32>().unwrap().iter().all(|x| x.is_nan()));
    }
}

#[test]
fn stores_of_every_form_are_read_as_what_they_hold() {
    let draw = |shape: &[usize], seed| Generator::new(seed).normal(shape, DType::F32).unwrap();
    for (kv_heads, group, head_dim, value_dim) in [(2, 1, 16, 16), (1, 3, 5, 19), (2, 5, 64, 33)] {
        let mut ragged = Ragged::default();
        for (rows, keys) in [(1, 1), (1, 150), (2, 65), (60, 130)] {
            ragged.push_at(rows, rows % 7, keys);
        }
        let query = draw(&[ragged.total(), kv_heads * group, head_dim], 1);
        // Every other row of something, to rows in another order.
        let places: Vec<[usize; 2]> = (0..140).map(|row| [2 * row, (row * 37) % 151]).collect();
        for form in [StoreForm::F32, StoreForm::F16, StoreForm::Int8] {
            let stored = |dim: usize, seed| {
                let store = form.zeros(151, kv_heads, dim, Device::Cpu).unwrap();
                let x = draw(&[280, 2 * kv_heads, dim], seed).narrow(1, kv_heads, 2 * kv_heads).unwrap();
                store_rows([&store, &x], [&store, &x], &places.iter().copied().collect()).unwrap();
                let rows: Vec<usize> = (0..151).collect();
                let floats = stored_rows(&store, &rows).unwrap();
                let most = if form == StoreForm::F32 { 0.0 } else { 4.5 / 254.0 };
                for [from, to] in &places {
                    let [from, to] = [x.select(0, *from).unwrap(), floats.select(0, *to).unwrap()];
                    let off = from.sub(&to).unwrap().abs().unwrap().amax(&[], false).unwrap();
                    assert!(off.item().unwrap().to_f64() <= most, "{form:?}");
                }
                (store, floats)
            };
            let ((key, keys), (value, values)) = (stored(head_dim, 2), stored(value_dim, 3));
            let mask = Mask { causal: true, window: None };
            let wide = Attention { mask, ..Attention::new(&query, &keys, &values, &ragged) };
            let kept = Attention { key: &key, value: &value, ..wide };
            for level in Level::available() {
                let (got, want) = (run(level, &kept), run(level, &wide));
                let off = got.sub(&want).unwrap().abs().unwrap().amax(&[], false).unwrap();
                assert!(off.item().unwrap().to_f64() < 1e-5, "{form:?} {level:?}: off by {off:?}");
            }
            let off = kept.run().unwrap().context.sub(&wide.run().unwrap().context).unwrap();
            assert!(off.abs().unwrap().amax(&[], false).unwrap().item().unwrap().to_f64() < 1e-5);
        }
    }
    let store = StoreForm::F16.zeros(1, 1, 2, Device::Cpu).unwrap();
    let other = StoreForm::F16.zeros(1, 1, 3, Device::Cpu).unwrap();
    let x = Tensor::from_slice(&[1e6f32, f32::NEG_INFINITY], &[1, 1, 2]).unwrap();
    let y = Tensor::from_slice(&[1f32, 2.0, -3.0], &[1, 1, 3]).unwrap();
    let kept =
        |x: &Tensor, y: &Tensor, place| store_rows([&store, x], [&other, y], &Places::from_iter([place]));
    kept(&x, &y, [0, 0]).unwrap();
    assert_eq!(stored_rows(&store, &[0]).unwrap().as_slice::<f32>().unwrap(), [65504.0, -65504.0]);
    assert_eq!(stored_rows(&other, &[0]).unwrap().as_slice::<f32>().unwrap(), [1.0, 2.0, -3.0]);
    for place in [[1, 0], [0, 1]] {
        assert!(kept(&x, &y, place).is_err());
    }
    assert!(kept(&y, &y, [0, 0]).is_err() && kept(&x, &x, [0, 0]).is_err());
    let wide = StoreForm::F32.zeros(1, 1, 3, Device::Cpu).unwrap();
    assert!(store_rows([&store, &x], [&wide, &y], &Places::from_iter([[0, 0]])).is_err());
}
