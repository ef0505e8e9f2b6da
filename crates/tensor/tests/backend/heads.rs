//! Queries and keys that are turned on their way to a store.

use trustformers_tensor::ops::{Angles, Places, StoreForm, rope_both_, store_rows, turn_and_store};
use trustformers_tensor::{DType, Device, Tensor};

use crate::{devices, numbers, on};

const ROWS: usize = 5;
const HEADS: usize = 6;
const KV_HEADS: usize = 2;

/// Queries, keys and values, the stores of keys and of values, and the angles.
struct Step {
    heads: [Tensor; 3],
    stores: [Tensor; 2],
    angles: [Tensor; 2],
}

impl Step {
    fn new(device: Device, dtype: DType, form: StoreForm, [dim, pairs]: [usize; 2], together: bool) -> Step {
        let all = numbers(ROWS * (HEADS + 2 * KV_HEADS) * dim, DType::F32, 1);
        let all = on(device, &all.to_dtype(dtype).unwrap()).view(&[ROWS, HEADS + 2 * KV_HEADS, dim]).unwrap();
        let part = |from, to| {
            let part = all.narrow(1, from, to).unwrap();
            if together { part } else { part.copy().unwrap() }
        };
        let (keys, values) = (HEADS + KV_HEADS, HEADS + 2 * KV_HEADS);
        let table = |seed| on(device, &numbers(ROWS * pairs, DType::F32, seed).view(&[ROWS, pairs]).unwrap());
        Step {
            heads: [part(0, HEADS), part(HEADS, keys), part(keys, values)],
            stores: [1, 2].map(|_| form.zeros(2 * ROWS, KV_HEADS, dim, device).unwrap()),
            angles: [table(2), table(3)],
        }
    }

    /// What is there after `run`, which gets queries, angles, and stores with what goes there.
    fn after(
        self,
        interleaved: bool,
        run: impl Fn(&Tensor, Angles, [&Tensor; 2], [&Tensor; 2]),
    ) -> Vec<Vec<u8>> {
        let Step { heads: [query, key, value], stores: [keys, values], angles: [cos, sin] } = &self;
        run(query, Angles { cos, sin, interleaved }, [keys, key], [values, value]);
        let bytes = |x: &Tensor| x.to_host().unwrap().contiguous().unwrap().to_bytes().unwrap();
        self.heads.iter().chain(&self.stores).map(bytes).collect()
    }
}

/// To the last bit what both do one after the other, also where rows are not stored in their order.
#[test]
fn heads_are_turned_and_stored() {
    let forms = [StoreForm::F32, StoreForm::F16, StoreForm::Int8];
    let sizes = [([8, 4], false), ([64, 32], false), ([9, 3], false), ([9, 4], true), ([40, 8], false)];
    let in_order: Places = (0..ROWS).map(|row| [row, ROWS - row]).collect();
    let some = Places::from_iter([[3, 1], [0, 0], [3, 7]]);
    for device in devices() {
        let any = on(device, &Tensor::zeros(&[1]).unwrap());
        let backend = any.storage().backend();
        let kinds = [DType::F32, DType::F16, DType::BF16].into_iter().filter(|&dtype| backend.takes(dtype));
        for (dtype, form) in kinds.flat_map(|dtype| forms.map(|form| (dtype, form))) {
            for ((size, interleaved), together) in
                sizes.iter().flat_map(|&size| [(size, true), (size, false)])
            {
                let step = || Step::new(device, dtype, form, size, together);
                let mut want = Vec::new();
                for places in [&some, &in_order] {
                    want = step().after(interleaved, |query, angles, keys, values| {
                        rope_both_(query, keys[1], angles).unwrap();
                        store_rows(keys, values, places).unwrap();
                    });
                    let got = step().after(interleaved, |query, angles, keys, values| {
                        turn_and_store(query, angles, keys, values, places).unwrap();
                    });
                    assert!(got == want, "{device} {dtype} {form:?} {size:?} {interleaved} {together}");
                }
                // By the kernel alone, where there is one.
                if device != Device::Cpu {
                    let got = step().after(interleaved, |query, angles, keys, values| {
                        assert!(backend.turn_and_store(query, angles, [keys, values], &in_order).unwrap());
                    });
                    assert!(got == want, "{device} {dtype} {form:?} {size:?} {interleaved} {together}");
                }
            }
        }
    }
}
