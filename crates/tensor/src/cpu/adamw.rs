//! AdamW in one pass over parameter, gradient and running means.

use std::mem::MaybeUninit;

use super::elementwise::CHUNK;
use super::number::{Load, Number, Store};
use super::simd::vectorized;
use crate::ops::AdamW;
use crate::{DType, Result, Tensor, team};

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

/// See [`crate::Backend::adamw_step`].
pub(super) fn adamw_step(
    options: &AdamW,
    step: u64,
    parameter: &Tensor,
    grad: &Tensor,
    mean: &Tensor,
    square: &Tensor,
) -> Result<()> {
    let ((b1, b2), t) = (options.betas, step as f64);
    let correction = (1.0 - b2.powf(t)).sqrt();
    let (decay, rate) = (1.0 - options.lr * options.weight_decay, options.lr / (1.0 - b1.powf(t)));
    macro_rules! run {
        ($type:ty) => {{
            let [decay, rate, correction, eps, b1, b2] =
                [decay, rate, correction, options.eps, b1, b2].map(|x| x as $type);
            let places = [parameter, grad, mean, square].map(Place::<$type>::new);
            let [parameter_at, grad_at, mean_at, square_at] = places;
            let (p, g, m, v) = (parameter_at?, grad_at?, mean_at?, square_at?);
            let count = parameter.numel();
            let one = |chunk: usize| {
                let mut room = [const { [const { MaybeUninit::<$type>::uninit() }; CHUNK] }; 4];
                let [p_room, g_room, m_room, v_room] = &mut room;
                let start = chunk * CHUNK;
                let len = CHUNK.min(count - start);
                let (ps, gs) = (p.read(start, &mut p_room[..len]), g.read(start, &mut g_room[..len]));
                let (ms, vs) = (m.read(start, &mut m_room[..len]), v.read(start, &mut v_room[..len]));
                vectorized(
                    #[inline(always)]
                    || {
                        for i in 0..len {
                            ms[i] = b1 * ms[i] + (1.0 - b1) * gs[i];
                            vs[i] = b2 * vs[i] + (1.0 - b2) * gs[i] * gs[i];
                            ps[i] = decay * ps[i] - rate * ms[i] / (vs[i].sqrt() / correction + eps);
                        }
                    },
                );
                p.write(start, ps);
                m.write(start, ms);
                v.write(start, vs);
            };
            let chunks = count.div_ceil(CHUNK);
            // Few are done on the calling thread: waking another costs more.
            if chunks <= 32 {
                (0..chunks).for_each(one);
                return Ok(());
            }
            team::for_each(chunks.div_ceil(16), |run| (16 * run..chunks.min(16 * run + 16)).for_each(one))
        }};
    }
    if parameter.dtype() == DType::F64 { run!(f64) } else { run!(f32) }
}
