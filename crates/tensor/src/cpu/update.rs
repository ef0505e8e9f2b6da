//! Steps of optimizers in one pass over parameter, gradient and states.

use std::mem::MaybeUninit;

use super::elementwise::CHUNK;
use super::number::{Load, Number, Store};
use super::simd::vectorized;
use crate::ops::Update;
use crate::{DType, Result, Tensor, team};

/// Few chunks are done on the calling thread: waking another costs more.
const ALONE: usize = 32;

/// One tensor's elements, read and written as C in chunks that belong to one thread each.
struct Place<C> {
    first: *mut u8,
    size: usize,
    load: Load<C>,
    store: Store<C>,
}
// SAFETY: threads read and write disjoint chunks.
unsafe impl<C> Sync for Place<C> {}

impl<C: Number> Place<C> {
    fn new(tensor: &Tensor) -> Result<Place<C>> {
        let dtype = tensor.dtype();
        let first = tensor.as_ptr().cast_mut();
        Ok(Place { first, size: dtype.size(), load: C::load(dtype)?, store: C::store(dtype)? })
    }

    fn read<'a>(&self, start: usize, to: &'a mut [MaybeUninit<C>]) -> &'a mut [C] {
        // SAFETY: the tensor is contiguous and has at least `start + to.len()` elements; a load writes all of `to`.
        unsafe {
            (self.load)(self.first.add(start * self.size), self.size as isize, to);
            to.assume_init_mut()
        }
    }

    fn write(&self, start: usize, from: &[C]) {
        // SAFETY: as for `read`, and the memory is ours to write.
        unsafe { (self.store)(from, self.first.add(start * self.size), self.size as isize) }
    }
}

/// See [`crate::Backend::update`].
pub(super) fn update(update: &Update, parameter: &Tensor, grad: &Tensor, states: &[&Tensor]) -> Result<()> {
    macro_rules! run {
        ($type:ty) => {{
            macro_rules! numbers {
                ($value:expr) => {
                    $value.map(|x| x as $type)
                };
            }
            match *update {
                Update::Adam { lr, betas: (b1, b2), eps, weight_decay, decoupled, step } => {
                    let correction = (1.0 - b2.powf(step as f64)).sqrt();
                    let rate = lr / (1.0 - b1.powf(step as f64));
                    let (kept, added) =
                        if decoupled { (1.0 - lr * weight_decay, 0.0) } else { (1.0, weight_decay) };
                    let [kept, added, rate, correction, eps, b1, b2] =
                        numbers!([kept, added, rate, correction, eps, b1, b2]);
                    each::<$type, 2>(parameter, grad, states, |p, g, [m, v]| {
                        let g = g + added * *p;
                        *m = b1 * *m + (1.0 - b1) * g;
                        *v = b2 * *v + (1.0 - b2) * g * g;
                        *p = kept * *p - rate * *m / (v.sqrt() / correction + eps);
                    })
                }
                Update::Sgd { lr, momentum, dampening, nesterov, weight_decay, first } => {
                    let (kept, given) = if first { (0.0, 1.0) } else { (momentum, 1.0 - dampening) };
                    let [lr, momentum, kept, given, added] =
                        numbers!([lr, momentum, kept, given, weight_decay]);
                    if states.is_empty() {
                        return each::<$type, 0>(parameter, grad, states, |p, g, []| {
                            *p -= lr * (g + added * *p)
                        });
                    }
                    each::<$type, 1>(parameter, grad, states, |p, g, [sum]| {
                        let g = g + added * *p;
                        *sum = kept * *sum + given * g;
                        *p -= lr * if nesterov { g + momentum * *sum } else { *sum };
                    })
                }
                Update::Lion { lr, betas: (b1, b2), weight_decay } => {
                    let [lr, kept, b1, b2] = numbers!([lr, 1.0 - lr * weight_decay, b1, b2]);
                    each::<$type, 1>(parameter, grad, states, |p, g, [m]| {
                        let direction = b1 * *m + (1.0 - b1) * g;
                        let sign = <$type>::from(i8::from(direction > 0.0) - i8::from(direction < 0.0));
                        *p = kept * *p - lr * sign;
                        *m = b2 * *m + (1.0 - b2) * g;
                    })
                }
                Update::Adagrad { lr, eps, weight_decay } => {
                    let [lr, eps, added] = numbers!([lr, eps, weight_decay]);
                    each::<$type, 1>(parameter, grad, states, |p, g, [sum]| {
                        let g = g + added * *p;
                        *sum += g * g;
                        *p -= lr * g / (sum.sqrt() + eps);
                    })
                }
                Update::RmsProp { lr, alpha, eps, weight_decay } => {
                    let [lr, alpha, eps, added] = numbers!([lr, alpha, eps, weight_decay]);
                    each::<$type, 1>(parameter, grad, states, |p, g, [v]| {
                        let g = g + added * *p;
                        *v = alpha * *v + (1.0 - alpha) * g * g;
                        *p -= lr * g / (v.sqrt() + eps);
                    })
                }
            }
        }};
    }
    if parameter.dtype() == DType::F64 { run!(f64) } else { run!(f32) }
}

/// Calls `change` with every element of the parameter, of its gradient and of its `N` states, in parallel.
fn each<C: Number, const N: usize>(
    parameter: &Tensor,
    grad: &Tensor,
    states: &[&Tensor],
    change: impl Fn(&mut C, C, [&mut C; N]) + Sync,
) -> Result<()> {
    let (parameter_at, grad_at) = (Place::<C>::new(parameter)?, Place::<C>::new(grad)?);
    let states = states.iter().map(|state| Place::<C>::new(state)).collect::<Result<Vec<_>>>()?;
    let count = parameter.numel();
    let one = |chunk: usize| {
        let start = chunk * CHUNK;
        let len = CHUNK.min(count - start);
        let mut p_room = [const { MaybeUninit::<C>::uninit() }; CHUNK];
        let mut g_room = [const { MaybeUninit::<C>::uninit() }; CHUNK];
        let mut rooms = [const { [const { MaybeUninit::<C>::uninit() }; CHUNK] }; N];
        let ps = parameter_at.read(start, &mut p_room[..len]);
        let gs = grad_at.read(start, &mut g_room[..len]);
        let mut places = states.iter();
        let mut remembered = rooms.each_mut().map(|room| match places.next() {
            Some(place) => place.read(start, &mut room[..len]),
            None => &mut [],
        });
        vectorized(
            #[inline(always)]
            || {
                for i in 0..len {
                    change(&mut ps[i], gs[i], remembered.each_mut().map(|state| &mut state[i]));
                }
            },
        );
        parameter_at.write(start, ps);
        states.iter().zip(&remembered).for_each(|(place, state)| place.write(start, state));
    };
    let chunks = count.div_ceil(CHUNK);
    if chunks <= ALONE {
        (0..chunks).for_each(one);
        return Ok(());
    }
    team::for_each(chunks.div_ceil(16), |run| (16 * run..chunks.min(16 * run + 16)).for_each(one))
}
