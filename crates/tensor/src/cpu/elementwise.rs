//! The one walk that all elementwise kernels share: any dtypes, any strides, broadcasting, in parallel.
//!
//! The result's elements are done in chunks that fit the first-level cache. An operand whose chunk lies in memory as the kernel wants
//! it is borrowed; any other is gathered and converted into a scratch first. So a kernel is one loop over plain slices.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::number::{Load, Number, Store, To, load_from, store_to};
use super::stream::{self, Soon};
use super::turn::Turn;
use crate::layout::coalesce;
use crate::{Result, Shape, Strides, Tensor, pool, team};

/// Elements of one chunk: with 8 bytes each, two operands and a result take half of the smallest first-level cache.
pub(super) const CHUNK: usize = 1024;
/// Results that go past the caches are made in pieces of so many elements: while the stores of one leave, the next one is read. Stores
/// of smaller pieces would meet on the bus with what the kernel reads.
const PIECE: usize = CHUNK;
/// Fewer elements than this are done on the calling thread: waking another costs more.
pub(super) const PARALLEL_FROM: usize = 32 << 10;
/// Results of so many bytes are written past the caches: whoever reads them next would hardly find them there.
const STREAM_FROM: usize = 32 << 20;

/// Room for one chunk of one tensor, on a cache line: stores across two would take twice as long.
#[repr(align(64))]
pub(super) struct Scratch<C> {
    room: [MaybeUninit<C>; CHUNK],
    /// How many elements hold the one number of an operand that is the same everywhere.
    same: usize,
}

impl<C> Scratch<C> {
    #[inline(always)]
    pub(super) fn new() -> Scratch<C> {
        Scratch { room: [const { MaybeUninit::uninit() }; CHUNK], same: 0 }
    }
}

/// An address that threads may share.
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) *mut u8);
// SAFETY: operands are only read while the tensor that owns them is borrowed; targets are written in disjoint chunks.
unsafe impl Sync for Address {}
// SAFETY: as above.
unsafe impl Send for Address {}

/// Where one tensor's elements lie along the common walk; strides in bytes.
#[derive(Clone, Copy)]
pub(super) struct Path<'w> {
    pub(super) first: Address,
    pub(super) shape: &'w [usize],
    pub(super) strides: &'w [isize],
}

impl Path<'_> {
    /// Calls `visit` with the address and the number of elements of each straight run among the elements `start..start + len`.
    #[inline]
    fn runs(&self, start: usize, len: usize, mut visit: impl FnMut(*mut u8, isize, usize)) {
        let last = self.shape.len() - 1;
        let (inner, stride) = (self.shape[last], self.strides[last]);
        let at = |offset: isize| self.first.0.wrapping_offset(offset);
        if last == 0 {
            return visit(at(start as isize * stride), stride, len);
        }
        let mut within = start % inner;
        let mut rest = start / inner;
        let mut index = Shape::from_elem(0, last);
        let mut row = 0isize;
        for axis in (0..last).rev() {
            index[axis] = rest % self.shape[axis];
            rest /= self.shape[axis];
            row += index[axis] as isize * self.strides[axis];
        }
        let mut left = len;
        while left > 0 {
            let run = left.min(inner - within);
            visit(at(row + within as isize * stride), stride, run);
            left -= run;
            within = 0;
            for axis in (0..last).rev() {
                index[axis] += 1;
                row += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                row -= self.strides[axis] * self.shape[axis] as isize;
                index[axis] = 0;
            }
        }
    }

    /// Whether one element stands for all.
    fn is_same(&self) -> bool {
        self.strides.iter().all(|&stride| stride == 0)
    }

    /// The address of `len` elements that lie one after another, `size` bytes each, if these do.
    #[inline]
    fn straight(&self, start: usize, len: usize, size: usize) -> Option<*mut u8> {
        let last = self.shape.len() - 1;
        let (inner, stride) = (self.shape[last], self.strides[last]);
        if stride != size as isize || (last > 0 && start % inner + len > inner) {
            return None;
        }
        let mut found = None;
        self.runs(start, len, |address, _, _| found = Some(address));
        found
    }
}

/// A tensor that is read.
pub(super) struct Operand<'w, C> {
    pub(super) path: Path<'w>,
    /// Bytes of an element in memory.
    pub(super) size: usize,
    pub(super) load: Load<C>,
    /// Whether chunks may be borrowed: the elements are of the kernel's type and not about to be overwritten.
    pub(super) borrow: bool,
}

impl<'w, C: Copy> Operand<'w, C> {
    /// The elements `start..start + len` of the walk.
    #[inline]
    pub(super) fn chunk<'s>(&self, start: usize, len: usize, scratch: &'s mut Scratch<C>) -> &'s [C]
    where
        'w: 's,
    {
        if let Some(lent) = self.lend(start, len) {
            return lent;
        }
        if self.path.is_same() {
            if scratch.same < len {
                self.gather(start, &mut scratch.room[..len]);
                scratch.same = len;
            }
        } else {
            self.gather(start, &mut scratch.room[..len]);
        }
        // SAFETY: gathered now, or when the same number was asked for before.
        unsafe { scratch.room[..len].assume_init_ref() }
    }

    /// The elements `start..start + len` where they lie, if they lie as the kernel wants them.
    #[inline]
    pub(super) fn lend(&self, start: usize, len: usize) -> Option<&'w [C]> {
        let address = if self.borrow { self.path.straight(start, len, size_of::<C>()) } else { None }?;
        // SAFETY: these elements are of type C, lie one after another within the storage of a tensor that the caller of the walk
        // borrows, and are written by nobody.
        Some(unsafe { std::slice::from_raw_parts(address.cast(), len) })
    }

    /// Fills `to` with the elements from `start` on.
    pub(super) fn gather(&self, start: usize, to: &mut [MaybeUninit<C>]) {
        let mut filled = 0;
        self.path.runs(start, to.len(), |address, stride, run| {
            // SAFETY: the runs stay within the tensor's shape, hence within its storage.
            unsafe { (self.load)(address, stride, &mut to[filled..filled + run]) };
            filled += run;
        });
    }
}

impl<C> Operand<'_, C> {
    /// Where the elements `start..start + len` of the walk are, for the next ones to be fetched.
    #[inline]
    fn read(&self, start: usize, len: usize) -> Soon {
        Soon::new(self.path.straight(start, len, self.size), self.size)
    }
}

/// A tensor that is written.
struct Target<'w, O> {
    path: Path<'w>,
    /// Bytes of an element in memory.
    size: usize,
    store: Store<O>,
    native: bool,
    /// Whether the elements go past the caches.
    stream: bool,
}

/// Room for the bytes of one piece on their way past the caches.
#[repr(align(64))]
struct Outgoing([MaybeUninit<u8>; PIECE * size_of::<u64>()]);

impl<O: Copy> Target<'_, O> {
    /// Has `fill` write the elements `start..start + len` of the walk: it is given which of them, from 0 to `len`, and room for those.
    /// If they go past the caches, what follows the elements `read` of the operands is fetched meanwhile.
    #[inline]
    fn chunk<const N: usize>(
        &self,
        start: usize,
        len: usize,
        scratch: &mut Scratch<O>,
        read: impl FnOnce() -> [Soon; N],
        fill: impl Fn(Range<usize>, &mut [MaybeUninit<O>]),
    ) {
        if self.stream
            && let Some(address) = self.path.straight(start, len, self.size)
        {
            let read = read();
            // All pieces but the first start on a cache line.
            let mut end = PIECE - address as usize % stream::LINE / self.size;
            let mut from = 0;
            while from < len {
                let piece = from..end.min(len);
                let room = &mut scratch.room[..piece.len()];
                fill(piece, room);
                let next = read.each_ref().map(|soon| soon.after(end));
                // SAFETY: a fill writes all elements.
                let made = unsafe { room.assume_init_ref() };
                self.put_past_the_caches(made, address.wrapping_add(from * self.size), &next);
                (from, end) = (end, end + PIECE);
            }
            return;
        }
        if self.native
            && let Some(address) = self.path.straight(start, len, size_of::<O>())
        {
            // SAFETY: these elements are of type O, lie one after another within writable storage, and belong to this chunk alone.
            return fill(0..len, unsafe { std::slice::from_raw_parts_mut(address.cast(), len) });
        }
        fill(0..len, &mut scratch.room[..len]);
        // SAFETY: a fill writes all elements.
        let mut rest = unsafe { scratch.room[..len].assume_init_ref() };
        self.path.runs(start, len, |address, stride, run| {
            let (now, later) = rest.split_at(run);
            // SAFETY: the runs stay within the tensor's shape, hence within its writable storage; they belong to this chunk alone.
            unsafe { (self.store)(now, address, stride) };
            rest = later;
        });
    }

    /// Writes `values`, at most [`PIECE`], to the elements from `address` on, and fetches what is needed `soon`.
    #[inline]
    fn put_past_the_caches(&self, values: &[O], address: *mut u8, soon: &[Soon]) {
        let bytes = values.len() * self.size;
        let mut converted = Outgoing([const { MaybeUninit::uninit() }; PIECE * size_of::<u64>()]);
        let from = if self.native {
            values.as_ptr().cast()
        } else {
            // SAFETY: room for a whole piece, aligned for every dtype.
            unsafe { (self.store)(values, converted.0.as_mut_ptr().cast(), self.size as isize) };
            converted.0.as_ptr().cast()
        };
        // SAFETY: `from` holds the values in the form of the target, whose elements lie one after another within writable storage,
        // belong to this chunk alone, and are looked at after the walk, which ends each thread's part with `finish`.
        unsafe { stream::write(std::slice::from_raw_parts(from, bytes), address, self.size, soon) };
    }
}

/// The walk over tensors that are broadcast to one shape: its dimensions, merged where all allow it, how far apart neighbours are in each
/// tensor, in bytes, and how far chunks reach.
pub(super) struct Walk<const N: usize> {
    shape: Shape,
    strides: [Strides; N],
    total: usize,
    chunk: usize,
}

impl<const N: usize> Walk<N> {
    pub(super) fn new(shape: &[usize], tensors: [&Tensor; N]) -> Walk<N> {
        let (shape, mut strides) = coalesce(shape, tensors.map(Tensor::layout));
        for (strides, tensor) in strides.iter_mut().zip(tensors) {
            strides.iter_mut().for_each(|stride| *stride *= tensor.dtype().size() as isize);
        }
        let inner = shape[shape.len() - 1];
        // Chunks that end where rows end can be borrowed also where rows do not follow one another.
        let per_row = inner.div_ceil(CHUNK).max(1);
        let even = inner >= CHUNK / 4 && inner.is_multiple_of(per_row);
        let chunk = if even { inner / per_row } else { CHUNK };
        Walk { total: shape.iter().product(), chunk, shape, strides }
    }

    /// The paths of the tensors that this walk was made for.
    pub(super) fn paths(&self, tensors: [&Tensor; N]) -> [Path<'_>; N] {
        std::array::from_fn(|i| Path {
            first: Address(tensors[i].as_ptr().cast_mut()),
            shape: &self.shape,
            strides: &self.strides[i],
        })
    }

    /// Gives `work` ranges of elements, several to a thread; `work` then goes chunk by chunk.
    fn run(&self, work: impl Fn(Range<usize>) + Send + Sync) -> Result<()> {
        if self.total < PARALLEL_FROM {
            work(0..self.total);
            return Ok(());
        }
        let work = |range| {
            work(range);
            stream::finish();
        };
        let chunks = self.total.div_ceil(self.chunk);
        let step = chunks.div_ceil(4 * pool::num_threads()).max(1) * self.chunk;
        team::for_each(self.total.div_ceil(step), |i| work(i * step..((i + 1) * step).min(self.total)))
    }

    /// The chunks of `range`: where each starts and how long it is.
    fn chunks(&self, range: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let (chunk, end) = (self.chunk, range.end);
        range.step_by(chunk).map(move |start| (start, chunk.min(end - start)))
    }
}

fn operand<'w, C: Number>(path: Path<'w>, tensor: &Tensor, out: &Tensor) -> Result<Operand<'w, C>> {
    let borrow = C::is_native(tensor.dtype()) && !tensor.shares_storage(out);
    Ok(Operand { path, size: tensor.dtype().size(), load: C::load(tensor.dtype())?, borrow })
}

fn target<'w, O: Number>(path: Path<'w>, out: &Tensor, operands: &[&Tensor]) -> Result<Target<'w, O>> {
    let (store, native) = (O::store(out.dtype())?, O::is_native(out.dtype()));
    Ok(Target { path, size: out.dtype().size(), store, native, stream: streams(out, operands) })
}

/// Whether the elements of `out` are to be written past the caches: where they would not fit, and their lines are not there already
/// because they are read as well.
fn streams(out: &Tensor, operands: &[&Tensor]) -> bool {
    out.numel() * out.dtype().size() >= STREAM_FROM && !operands.iter().any(|x| x.shares_storage(out))
}

/// `out = kernel(x)`, written to the memory of `out`, which is ours to write and overlaps no operand except one of the same layout.
pub(super) fn map1<A: Number, O: Number>(
    out: &Tensor,
    x: &Tensor,
    kernel: impl Fn(&[A], &mut [MaybeUninit<O>]) + Send + Sync,
) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let walk = Walk::new(out.shape(), [out, x]);
    let [to, path] = walk.paths([out, x]);
    let (to, from) = (target::<O>(to, out, &[x])?, operand::<A>(path, x, out)?);
    walk.run(|range| {
        let mut s = Scratch::new();
        let mut t = Scratch::new();
        for (start, len) in walk.chunks(range) {
            let x = from.chunk(start, len, &mut s);
            to.chunk(start, len, &mut t, || [from.read(start, len)], |part, out| kernel(&x[part], out));
        }
    })
}

/// `out = kernel(x, y)`; see [`map1`].
pub(super) fn map2<A: Number, O: Number>(
    out: &Tensor,
    x: &Tensor,
    y: &Tensor,
    kernel: impl Fn(&[A], &[A], &mut [MaybeUninit<O>]) + Send + Sync,
) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let walk = Walk::new(out.shape(), [out, x, y]);
    let [to, at_x, at_y] = walk.paths([out, x, y]);
    let to = target::<O>(to, out, &[x, y])?;
    let (left, right) = (operand::<A>(at_x, x, out)?, operand::<A>(at_y, y, out)?);
    walk.run(|range| {
        let mut s = Scratch::new();
        let mut r = Scratch::new();
        let mut t = Scratch::new();
        for (start, len) in walk.chunks(range) {
            let (x, y) = (left.chunk(start, len, &mut s), right.chunk(start, len, &mut r));
            let read = || [left.read(start, len), right.read(start, len)];
            to.chunk(start, len, &mut t, read, |part, out| kernel(&x[part.clone()], &y[part], out));
        }
    })
}

/// `out = kernel(condition, x, y)`; see [`map1`].
pub(super) fn map3<A: Number>(
    out: &Tensor,
    condition: &Tensor,
    x: &Tensor,
    y: &Tensor,
    kernel: impl Fn(&[u8], &[A], &[A], &mut [MaybeUninit<A>]) + Send + Sync,
) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let walk = Walk::new(out.shape(), [out, condition, x, y]);
    let [to, at_c, at_x, at_y] = walk.paths([out, condition, x, y]);
    let to = target::<A>(to, out, &[condition, x, y])?;
    let choice = operand::<u8>(at_c, condition, out)?;
    let (left, right) = (operand::<A>(at_x, x, out)?, operand::<A>(at_y, y, out)?);
    walk.run(|range| {
        let mut q = Scratch::new();
        let mut s = Scratch::new();
        let mut r = Scratch::new();
        let mut t = Scratch::new();
        for (start, len) in walk.chunks(range) {
            let condition = choice.chunk(start, len, &mut q);
            let (x, y) = (left.chunk(start, len, &mut s), right.chunk(start, len, &mut r));
            let read = || [choice.read(start, len), left.read(start, len), right.read(start, len)];
            to.chunk(start, len, &mut t, read, |part, out| {
                kernel(&condition[part.clone()], &x[part.clone()], &y[part], out)
            });
        }
    })
}

/// `out = x`, bit by bit, elements of the size of T and of one dtype; in other memory.
pub(super) fn copy<T: Copy + To<T> + Send + Sync>(out: &Tensor, x: &Tensor) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let walk = Walk::new(out.shape(), [out, x]);
    let [to, path] = walk.paths([out, x]);
    if let Some(turn) = Turn::of::<T>(&to, &path) {
        return turn.copy::<T>(&to, &path);
    }
    let size = size_of::<T>();
    let to = Target { path: to, size, store: store_to::<T, T>, native: true, stream: streams(out, &[]) };
    let x = Operand { path, size, load: load_from::<T, T>, borrow: true };
    walk.run(|range| {
        let mut s = Scratch::new();
        let mut t = Scratch::new();
        for (start, len) in walk.chunks(range) {
            let from = x.chunk(start, len, &mut s);
            let read = || [x.read(start, len)];
            to.chunk(start, len, &mut t, read, |part, out| _ = out.write_copy_of_slice(&from[part]));
        }
    })
}
