//! Steps of optimizers in one pass over parameters, gradients and states.

use std::array;
use std::mem::MaybeUninit;
use std::ptr;

use super::dynamic8::{self, BLOCK, Code};
use super::elementwise::{Address, CHUNK};
use super::number::{Load, Number, Store, To};
use super::simd::vectorized;
use crate::ops::{Change, Kept, Update};
use crate::{DType, Result, Tensor, team};

/// Chunks that a thread does one after another; so few altogether are done on the calling thread, as waking another costs more.
const RUN: usize = 16;
/// Elements that are changed together. They are copied to registers first, so that no store can be one of the loads to come, and vectors of
/// any width can do them.
const LANES: usize = 16;

/// Where the elements of a tensor are, read and written in chunks of at most [`CHUNK`] that belong to one thread each.
enum Place<C> {
    /// As the kernel computes with them.
    Native(Address),
    /// As something else.
    Converted { first: Address, size: usize, load: Load<C>, store: Store<C> },
    /// As codes and the scales of [`BLOCK`]s.
    Coded { codes: Address, scales: Address, code: &'static Code },
}

impl<C: Number + To<f32>> Place<C>
where
    f32: To<C>,
{
    fn new(tensor: &Tensor) -> Result<Place<C>> {
        let (dtype, first) = (tensor.dtype(), Address(tensor.as_ptr().cast_mut()));
        Ok(match C::is_native(dtype) {
            true => Place::Native(first),
            false => {
                Place::Converted { first, size: dtype.size(), load: C::load(dtype)?, store: C::store(dtype)? }
            }
        })
    }

    fn of(state: &Kept) -> Result<Place<C>> {
        match *state {
            Kept::Whole(tensor) => Place::new(tensor),
            Kept::Coded { codes, scales, signed } => Ok(Place::Coded {
                codes: Address(codes.as_ptr().cast_mut()),
                scales: Address(scales.as_ptr().cast_mut()),
                code: if signed { &dynamic8::SIGNED } else { &dynamic8::UNSIGNED },
            }),
        }
    }

    /// The elements from `start` on, as many as there is room for: those in memory themselves, or read into the room.
    ///
    /// # Safety
    /// The tensor must be contiguous and have them, and nobody may write them meanwhile.
    unsafe fn read(&self, start: usize, room: &mut [MaybeUninit<C>]) -> *mut [C] {
        let len = room.len();
        // SAFETY: the caller vouches for the elements; a load or the loop over the numbers writes all of the room.
        unsafe {
            match *self {
                Place::Native(first) => ptr::slice_from_raw_parts_mut(first.0.cast::<C>().add(start), len),
                Place::Converted { first, size, load, .. } => {
                    load(first.0.add(start * size), size as isize, room);
                    room.assume_init_mut()
                }
                Place::Coded { codes, scales, code } => {
                    let mut numbers = [const { MaybeUninit::uninit() }; CHUNK];
                    let codes = std::slice::from_raw_parts(codes.0.add(start), len);
                    let scales = scales.0.cast::<f32>().add(start / BLOCK);
                    let scales = std::slice::from_raw_parts(scales, len.div_ceil(BLOCK));
                    code.decode(codes, scales, &mut numbers[..len]);
                    for (to, number) in room.iter_mut().zip(&numbers) {
                        to.write(number.assume_init().to());
                    }
                    room.assume_init_mut()
                }
            }
        }
    }

    /// Brings back what was read into a room.
    ///
    /// # Safety
    /// As for [`Place::read`], and the memory must be ours to write.
    unsafe fn write(&self, start: usize, from: &[C]) {
        // SAFETY: as for this function.
        unsafe {
            match *self {
                Place::Native(_) => {}
                Place::Converted { first, size, store, .. } => {
                    store(from, first.0.add(start * size), size as isize)
                }
                Place::Coded { codes, scales, code } => {
                    let mut numbers = [0.0; CHUNK];
                    let numbers = &mut numbers[..from.len()];
                    numbers.iter_mut().zip(from).for_each(|(to, x)| *to = x.to());
                    let codes = std::slice::from_raw_parts_mut(codes.0.add(start), from.len());
                    let scales = scales.0.cast::<f32>().add(start / BLOCK);
                    let scales = std::slice::from_raw_parts_mut(scales, from.len().div_ceil(BLOCK));
                    code.encode(numbers, codes, scales);
                }
            }
        }
    }
}

/// Changes the chunk of this number of some parameter.
type Work<'a> = Box<dyn Fn(usize) + Sync + 'a>;

/// See [`crate::Backend::update`].
pub(super) fn update(changes: &[Change]) -> Result<()> {
    let works = changes.iter().map(work).collect::<Result<Vec<_>>>()?;
    // The chunks of all parameters are one row, which is cut into runs; where in it those of each parameter end.
    let ends: Vec<usize> = changes
        .iter()
        .scan(0, |end, change| {
            *end += change.parameter.numel().div_ceil(CHUNK);
            Some(*end)
        })
        .collect();
    let chunks = ends.last().copied().unwrap_or(0);
    let run = |run: usize| {
        let chunks = run * RUN..chunks.min((run + 1) * RUN);
        let mut which = ends.partition_point(|&end| end <= chunks.start);
        for chunk in chunks {
            while ends[which] <= chunk {
                which += 1;
            }
            works[which](chunk - if which == 0 { 0 } else { ends[which - 1] });
        }
    };
    team::for_each(chunks.div_ceil(RUN), run)
}

/// What changes a parameter.
fn work<'a>(change: &Change<'a>) -> Result<Work<'a>> {
    macro_rules! run {
        ($type:ty) => {{
            macro_rules! numbers {
                ($value:expr) => {
                    $value.map(|x| x as $type)
                };
            }
            // Marked, or it would be compiled for the narrowest processor.
            macro_rules! rule {
                (|$p:ident, $g:ident, $states:pat_param| $body:block) => {
                    each(
                        change,
                        #[inline(always)]
                        move |$p: $type, $g: $type, $states| $body,
                    )
                };
            }
            match change.update {
                Update::Adam { lr, betas: (b1, b2), eps, weight_decay, decoupled, step } => {
                    // rate · (m / (1 - b1ᵗ)) / (√(v / (1 - b2ᵗ)) + eps), with the corrections in the constants.
                    let correction = (1.0 - b2.powf(step as f64)).sqrt();
                    let (rate, eps) = (lr / (1.0 - b1.powf(step as f64)) * correction, eps * correction);
                    let (kept, added) =
                        if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
                    let [kept, added, rate, eps] = numbers!([kept, added, rate, eps]);
                    let [b1, g1, b2, g2] = numbers!([b1, 1.0 - b1, b2, 1.0 - b2]);
                    rule!(|p, g, [m, v]| {
                        let g = g + added * p;
                        let (m, v) = (b1 * m + g1 * g, b2 * v + g2 * g * g);
                        (kept * p - rate * m / (v.sqrt() + eps), [m, v])
                    })
                }
                Update::Sgd { lr, momentum, dampening, nesterov, weight_decay, first } => {
                    let (kept, given) = if first { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
                    let [lr, momentum, kept, given, added] =
                        numbers!([lr, momentum, kept, given, weight_decay]);
                    if change.states.is_empty() {
                        return rule!(|p, g, []| { (p - lr * (g + added * p), []) });
                    }
                    // What of both the parameter is changed by; not a choice within the loop, which would be compiled for one element.
                    let [own, of_sum] = if nesterov { [1.0, momentum] } else { [0.0, 1.0] };
                    rule!(|p, g, [sum]| {
                        let g = g + added * p;
                        let sum = kept * sum + given * g;
                        (p - lr * (own * g + of_sum * sum), [sum])
                    })
                }
                Update::Lion { lr, betas: (b1, b2), weight_decay } => {
                    let [lr, kept] = numbers!([lr, 1.0 - lr * weight_decay]);
                    let [b1, g1, b2, g2] = numbers!([b1, 1.0 - b1, b2, 1.0 - b2]);
                    rule!(|p, g, [m]| {
                        let direction = b1 * m + g1 * g;
                        let up = if direction > 0.0 { lr } else { 0.0 };
                        let step = if direction < 0.0 { -lr } else { up };
                        (kept * p - step, [b2 * m + g2 * g])
                    })
                }
                Update::Adagrad { lr, eps, weight_decay } => {
                    let [lr, eps, added] = numbers!([lr, eps, weight_decay]);
                    rule!(|p, g, [sum]| {
                        let g = g + added * p;
                        let sum = sum + g * g;
                        (p - lr * g / (sum.sqrt() + eps), [sum])
                    })
                }
                Update::RmsProp { lr, alpha, eps, weight_decay } => {
                    let [lr, alpha, given, eps, added] =
                        numbers!([lr, alpha, 1.0 - alpha, eps, weight_decay]);
                    rule!(|p, g, [v]| {
                        let g = g + added * p;
                        let v = alpha * v + given * g * g;
                        (p - lr * g / (v.sqrt() + eps), [v])
                    })
                }
            }
        }};
    }
    if change.parameter.dtype() == DType::F64 { run!(f64) } else { run!(f32) }
}

/// What calls `rule` with every element of the parameter, of its gradient and of its `N` states, for what they shall be.
fn each<'a, C: Number + To<f32>, const N: usize>(
    change: &Change<'a>,
    rule: impl Fn(C, C, [C; N]) -> (C, [C; N]) + Sync + 'a,
) -> Result<Work<'a>>
where
    f32: To<C>,
{
    let (parameter, grad) = (Place::<C>::new(change.parameter)?, Place::<C>::new(change.grad)?);
    let states = change.states.iter().map(Place::<C>::of).collect::<Result<Vec<_>>>()?;
    let count = change.parameter.numel();
    Ok(Box::new(move |chunk| {
        let start = chunk * CHUNK;
        let len = CHUNK.min(count - start);
        let mut rooms = [const { [const { MaybeUninit::<C>::uninit() }; CHUNK] }; 2];
        let mut state_rooms = [const { [const { MaybeUninit::<C>::uninit() }; CHUNK] }; N];
        let [parameter_room, grad_room] = &mut rooms;
        let mut places = states.iter();
        // SAFETY: all are contiguous and of one shape, and none of those that are written shares memory with another; a chunk is one
        // thread's.
        unsafe {
            let p = &mut *parameter.read(start, &mut parameter_room[..len]);
            let g = &*grad.read(start, &mut grad_room[..len]);
            let mut remembered = state_rooms.each_mut().map(|room| match places.next() {
                Some(place) => &mut *place.read(start, &mut room[..len]),
                None => &mut [],
            });
            apply(p, g, remembered.each_mut().map(|state| &mut **state), &rule);
            parameter.write(start, p);
            states.iter().zip(&remembered).for_each(|(place, state)| place.write(start, state));
        }
    }))
}

/// Applies a rule to runs of elements.
#[inline(always)]
fn apply<C: Number, const N: usize>(
    p: &mut [C],
    g: &[C],
    states: [&mut [C]; N],
    rule: &impl Fn(C, C, [C; N]) -> (C, [C; N]),
) {
    vectorized(
        #[inline(always)]
        || {
            let (p, p_rest) = p.as_chunks_mut::<LANES>();
            let (g, g_rest) = g.as_chunks::<LANES>();
            let states = states.map(
                #[inline(always)]
                |state| state.as_chunks_mut::<LANES>(),
            );
            for (i, (p, g)) in p.iter_mut().zip(g).enumerate() {
                let (mut new, mut remembered): ([C; LANES], [[C; LANES]; N]) =
                    (*p, array::from_fn(|k| states[k].0[i]));
                for lane in 0..LANES {
                    let (p, state) = rule(new[lane], g[lane], array::from_fn(|k| remembered[k][lane]));
                    new[lane] = p;
                    for k in 0..N {
                        remembered[k][lane] = state[k];
                    }
                }
                *p = new;
                for k in 0..N {
                    states[k].0[i] = remembered[k];
                }
            }
            for (i, (p, g)) in p_rest.iter_mut().zip(g_rest).enumerate() {
                let (new, remembered) = rule(*p, *g, array::from_fn(|k| states[k].1[i]));
                *p = new;
                for k in 0..N {
                    states[k].1[i] = remembered[k];
                }
            }
        },
    );
}
