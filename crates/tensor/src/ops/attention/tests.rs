use proptest::prelude::*;

use super::*;
use crate::testing::{check_gradient, draw, same_gradients};

/// A drawn attention: its tensors, and what else it is made of.
#[derive(Debug)]
struct Case {
    tensors: [Tensor; 3],
    ragged: Ragged,
    mask: Mask,
    bias: Option<Vec<Tensor>>,
    softcap: Option<f32>,
}

impl Case {
    fn attention<'a>(
        &'a self,
        [query, key, value]: [&'a Tensor; 3],
        bias: Option<&'a [Tensor]>,
    ) -> Attention<'a> {
        let (mask, softcap) = (self.mask, self.softcap);
        Attention { mask, bias, softcap, scale: 0.3, ..Attention::new(query, key, value, &self.ragged) }
    }

    fn run(&self, probabilities: bool) -> Attended {
        let attention = self.attention(self.tensors.each_ref(), self.bias.as_deref());
        Attention { probabilities, ..attention }.run().unwrap()
    }
}

/// Sequences that attend to themselves (some rows unseen) or, each by its lot, to keys that lie elsewhere.
fn lengths() -> impl Strategy<Value = Vec<(usize, usize, bool)>> {
    let short = prop_oneof![0usize..5, 0usize..40];
    let one = (
        prop_oneof![4 => short.clone(), 1 => 60usize..180],
        prop_oneof![4 => short, 1 => 60usize..300],
        any::<bool>(),
    );
    prop::collection::vec(one, 1..5)
}

fn mask() -> impl Strategy<Value = Mask> {
    (any::<bool>(), prop::option::of(0usize..70)).prop_map(|(causal, window)| Mask { causal, window })
}

prop_compose! {
    fn case()(
        lengths in lengths(),
        mask in mask(),
        (kv_heads, group) in (1usize..4, 1usize..4),
        (head_dim, value_dim) in (1usize..40, 1usize..40),
        biased in prop::option::of((any::<[bool; 3]>(), 0u32..4)),
        softcap in prop::option::weighted(0.3, 0.5f32..5.0),
        fused: bool,
        seed in 0u64..1000,
    ) -> Case {
        let mut ragged = Ragged::default();
        let mut spare = 0;
        for &(rows, keys, elsewhere) in &lengths {
            if elsewhere {
                ragged.push_at(rows, spare, keys);
                spare += keys / 2;
            } else {
                ragged.push(rows, rows.saturating_sub(keys % 3));
            }
        }
        let heads = kv_heads * group;
        let rows = ragged.total();
        let key_rows = ragged.sequences().iter().map(|s| s.key_start + s.keys).max().unwrap();
        let draw = |shape: &[usize], seed| draw(shape, (-2.0, 2.0), seed).to_dtype(DType::F32).unwrap();
        let tensors = if fused {
            // Parts of one tensor, with the rows and heads the other way round in the value.
            let wide = draw(&[rows.max(key_rows), heads + kv_heads, head_dim + 1], seed);
            let part = |rows, from, to| {
                wide.narrow(0, 0, rows).unwrap().narrow(1, from, to).unwrap().narrow(2, 1, head_dim + 1).unwrap()
            };
            let value = draw(&[value_dim, kv_heads, key_rows], seed + 1).permute(&[2, 1, 0]).unwrap();
            [part(rows, 0, heads), part(key_rows, heads, heads + kv_heads), value]
        } else {
            let shapes = [[rows, heads, head_dim], [key_rows, kv_heads, head_dim], [key_rows, kv_heads, value_dim]];
            shapes.map(|shape| draw(&shape, seed + shape[2] as u64))
        };
        let bias = biased.map(|(broadcast, hidden)| {
            let one = |s: &Sequence| {
                let shape: Vec<usize> =
                    [heads, s.rows, s.keys].iter().zip(broadcast).map(|(&n, one)| if one { 1 } else { n }).collect();
                let bias = draw(&shape, seed + 9);
                // Some keys are hidden, by -∞ or by the least number, as transformers does.
                let low = bias.detach().lt(-2.0 + f64::from(hidden)).unwrap();
                bias.masked_fill(&low, if hidden > 1 { f64::NEG_INFINITY } else { f64::from(f32::MIN) }).unwrap()
            };
            ragged.sequences().iter().map(one).collect()
        });
        Case { tensors, ragged, mask, bias, softcap }
    }
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.detach().to_dtype(DType::F64).unwrap().contiguous().unwrap().as_slice::<f64>().unwrap().to_vec()
}

/// The definition, in f64, one row of one head at a time: probabilities and context.
fn reference(case: &Case, mut give: impl FnMut(usize, usize, usize, &[f64], &[f64])) {
    let [query, key, value] = case.tensors.each_ref().map(numbers);
    let (heads, head_dim) = (case.tensors[0].shape()[1], case.tensors[0].shape()[2]);
    let (kv_heads, value_dim) = (case.tensors[1].shape()[1], case.tensors[2].shape()[2]);
    for (index, s) in case.ragged.sequences().iter().enumerate() {
        let bias =
            case.bias.as_ref().map(|bias| numbers(&bias[index].expand(&[heads, s.rows, s.keys]).unwrap()));
        for (head, row) in (0..heads).flat_map(|head| (0..s.rows).map(move |row| (head, row))) {
            let at = |key: usize| (s.key_start + key) * kv_heads + head / (heads / kv_heads);
            let visible = case.mask.visible(s, row);
            let score = |k: usize| {
                let q = &query[((s.start + row) * heads + head) * head_dim..][..head_dim];
                let dot: f64 = q.iter().zip(&key[at(k) * head_dim..]).map(|(q, k)| q * k).sum();
                let scaled = dot * f64::from(0.3f32);
                let capped =
                    case.softcap.map_or(scaled, |cap| f64::from(cap) * (scaled / f64::from(cap)).tanh());
                let bias = bias.as_ref().map_or(0.0, |bias| bias[(head * s.rows + row) * s.keys + k]);
                // The sum is a float32: what is added to the least number is lost.
                if bias <= f64::from(f32::MIN) { bias } else { capped + bias }
            };
            let scores: Vec<f64> = (0..s.keys)
                .map(|k| if visible.contains(&k) { score(k) } else { f64::NEG_INFINITY })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max).max(f64::MIN);
            let exp: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
            let sum = exp.iter().sum::<f64>();
            let p: Vec<f64> = exp.iter().map(|e| if sum == 0.0 { 0.0 } else { e / sum }).collect();
            let mut context = vec![0.0; value_dim];
            for (k, p) in p.iter().enumerate() {
                context.iter_mut().zip(&value[at(k) * value_dim..]).for_each(|(out, v)| *out += p * v);
            }
            give(index, head, row, &p, &context);
        }
    }
}

proptest! {
    #[test]
    fn equals_its_definition(case in case()) {
        let heads = case.tensors[0].shape()[1];
        let (alone, attended) = (case.run(false).context, case.run(true));
        let contexts = [numbers(&alone), numbers(&attended.context)];
        let probabilities: Vec<_> = attended.probabilities.unwrap().iter().map(numbers).collect();
        reference(&case, |index, head, row, p, want| {
            let s = &case.ragged.sequences()[index];
            let close = |what: &str, got: &[f64], want: &[f64]| {
                for (got, want) in got.iter().zip(want) {
                    assert!((got - want).abs() < 2e-5, "{what} {index}, head {head}, row {row}: {got} != {want}");
                }
            };
            for context in &contexts {
                close("sequence", &context[((s.start + row) * heads + head) * want.len()..][..want.len()], want);
            }
            close("probabilities", &probabilities[index][(head * s.rows + row) * s.keys..][..s.keys], p);
        });
    }

    #[test]
    fn gradients_are_those_of_the_composed_form(case in case(), p in prop::option::of(0.1f64..1.0), seed: u64) {
        let inputs: Vec<Tensor> = case.tensors.iter().chain(case.bias.iter().flatten()).cloned().collect();
        let attention = |x: &[Tensor], fused: bool| {
            let attention = case.attention([&x[0], &x[1], &x[2]], case.bias.is_some().then_some(&x[3..]));
            let attention = Attention { dropout: p.map(|p| Dropout { p, seed }), ..attention };
            Ok(if fused { attention.run()? } else { attention.composed()? }.context)
        };
        same_gradients("attention", &inputs, 1e-4, |x| attention(x, true), |x| attention(x, false));
    }
}

#[test]
fn gradients() {
    let window = |causal, window| Mask { causal, window };
    let mut own = Ragged::default();
    for (rows, keys) in [(3, 3), (2, 1), (2, 0), (0, 0)] {
        own.push(rows, keys);
    }
    let mut elsewhere = Ragged::default();
    for (rows, key_start, keys) in [(2, 3, 4), (4, 0, 2), (1, 1, 6)] {
        elsewhere.push_at(rows, key_start, keys);
    }
    for (mask, softcap, dropout) in [
        (Mask::default(), None, None),
        (window(true, None), Some(0.5), None),
        (window(true, Some(2)), None, Some(Dropout { p: 0.4, seed: 3 })),
        (window(false, Some(1)), Some(2.0), None),
    ] {
        for ragged in [&own, &elsewhere] {
            let (query, key, value): (&[usize], &[usize], &[usize]) = (&[7, 2, 3], &[7, 1, 3], &[7, 1, 2]);
            let s = ragged.sequences();
            let biases: [Vec<[usize; 3]>; 2] = [
                s.iter().map(|s| [2, s.rows, s.keys]).collect(),
                s.iter().map(|s| [1, if s.rows == 2 { 1 } else { s.rows }, s.keys]).collect(),
            ];
            for biases in [None, Some(&biases[0]), Some(&biases[1])] {
                let mut shapes = vec![query, key, value];
                shapes.extend(biases.into_iter().flatten().map(|shape| &shape[..]));
                check_gradient("attention", &shapes, (-1.0, 1.0), 1, |x| {
                    let bias = biases.is_some().then_some(&x[3..]);
                    let attention = Attention::new(&x[0], &x[1], &x[2], ragged);
                    Ok(Attention { mask, softcap, bias, dropout, scale: 0.7, ..attention }.run()?.context)
                });
            }
        }
    }
}

#[test]
fn probabilities_have_gradients() {
    let mut ragged = Ragged::default();
    ragged.push(3, 3);
    let inputs = [1, 2].map(|seed| draw(&[3, 2, 3], (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap());
    same_gradients(
        "attention",
        &inputs,
        1e-5,
        |x| {
            let attention = Attention::new(&x[0], &x[1], &x[0], &ragged);
            let attended = Attention { probabilities: true, scale: 0.7, ..attention }.run()?;
            attended.probabilities.unwrap().swap_remove(0).square()
        },
        |x| {
            let part = |x: &Tensor| x.transpose(0, 1);
            part(&x[0])?.matmul(&part(&x[1])?.mt()?)?.mul(0.7f32)?.softmax(-1)?.square()
        },
    );
}

#[test]
fn a_row_that_sees_nothing_gives_zeros_and_takes_no_gradient() {
    let mut ragged = Ragged::default();
    ragged.push(2, 2);
    let x = Tensor::ones(&[2, 1, 3], DType::F32).unwrap();
    x.set_requires_grad(true).unwrap();
    let bias = Tensor::from_slice(&[f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, 0.0], &[1, 2, 2]).unwrap();
    let attended = Attention { bias: Some(&[bias]), ..Attention::new(&x, &x, &x, &ragged) }.run().unwrap();
    assert_eq!(numbers(&attended.context), [0., 0., 0., 1., 1., 1.]);
    attended.context.backward(Some(&Tensor::ones(&[2, 3], DType::F32).unwrap())).unwrap();
    assert!(numbers(&x.grad().unwrap()).iter().all(|grad| (grad - 0.5).abs() < 1e-6));
}

#[test]
fn what_does_not_fit_is_refused() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape).unwrap();
    let (three, four) = (zeros(&[3, 2, 4]), zeros(&[3, 2, 5]));
    let mut ragged = Ragged::default();
    ragged.push(3, 3);
    let refused = |attention: Attention| attention.run().err().unwrap().to_string();
    assert!(refused(Attention::new(&three, &four, &four, &ragged)).contains("head_dim"));
    assert!(
        refused(Attention::new(&three, &zeros(&[3, 4, 4]), &zeros(&[3, 4, 4]), &ragged)).contains("divide")
    );
    assert!(refused(Attention::new(&three, &three, &zeros(&[2, 2, 4]), &ragged)).contains("same rows"));
    assert!(
        refused(Attention::new(&zeros(&[4, 2, 4]), &three, &three, &ragged)).contains("3 rows, the query 4")
    );
    assert!(refused(Attention::new(&three, &three, &zeros(&[3, 2, 0]), &ragged)).contains("at least one"));
    let mut beyond = Ragged::default();
    beyond.push_at(3, usize::MAX, 3);
    assert!(refused(Attention::new(&three, &three, &three, &beyond)).contains("the key 3 rows"));
    let plain = || Attention::new(&three, &three, &three, &ragged);
    assert!(refused(Attention { bias: Some(&[]), ..plain() }).contains("0 biases for 1 sequences"));
    assert!(refused(Attention { bias: Some(&[zeros(&[2, 4, 3])]), ..plain() }).contains("must broadcast"));
    assert!(refused(Attention { bias: Some(&[zeros(&[1, 2, 3, 3])]), ..plain() }).contains("must broadcast"));
}

#[test]
fn probabilities_are_dropped_each_by_itself() {
    let mut ragged = Ragged::default();
    [60, 41].iter().for_each(|&rows| ragged.push(rows, rows));
    let [query, key, value] =
        [1, 2, 3].map(|seed| draw(&[101, 2, 8], (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap());
    let plain = Attention { probabilities: true, ..Attention::new(&query, &key, &value, &ragged) };
    let dropping = |p| Attention { dropout: Some(Dropout { p, seed: 5 }), ..plain }.run().unwrap();
    let (whole, half) = (plain.run().unwrap(), dropping(0.5));
    for (whole, half) in whole.probabilities.iter().flatten().zip(half.probabilities.iter().flatten()) {
        let (whole, half) = (numbers(whole), numbers(half));
        let kept =
            whole.iter().zip(&half).filter(|(whole, half)| **half != 0.0 && *whole * 2.0 - **half < 1e-6);
        let dropped = half.iter().filter(|half| **half == 0.0).count();
        assert_eq!(kept.count() + dropped, whole.len());
        let share = dropped as f64 / whole.len() as f64;
        assert!((share - 0.5).abs() < 5.0 * 0.5 / (whole.len() as f64).sqrt(), "{share}");
    }
    assert_eq!(numbers(&half.context), numbers(&dropping(0.5).context));
    assert!(numbers(&dropping(1.0).context).iter().all(|&x| x == 0.0));
}
