//! Stores that go past the caches.
//!
//! A store to a line that is not in the cache reads the line first, so a result too large to be found there later costs its memory
//! traffic twice. A streaming store does not read. It also leaves the bus to the reads of what comes next, which are asked for in
//! between: while one piece goes out, the next ones come in.

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;

/// Elements of `size` bytes that are read soon. Only a hint: they may lie anywhere.
pub(super) struct Soon {
    from: *const u8,
    size: usize,
}

impl Soon {
    /// Those from `from` on; none without an address.
    pub(super) fn new(from: Option<*mut u8>, size: usize) -> Soon {
        from.map_or(Soon { from: std::ptr::null(), size: 0 }, |from| Soon { from, size })
    }

    /// Those that follow `count` of these.
    #[inline]
    pub(super) fn after(&self, count: usize) -> Soon {
        Soon { from: self.from.wrapping_add(count * self.size), size: self.size }
    }
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::x86_64::*;

    use super::{LINE, Soon};
    use crate::cpu::level::Level;
    use crate::cpu::simd::fetch_x86;

    /// Writes `lines` whole cache lines by `store`; with each as many elements of what is needed soon are fetched.
    ///
    /// # Safety
    /// As for [`super::write`], with a target that starts on a line.
    #[inline(always)]
    unsafe fn stream(
        (from, to): (*const u8, *mut u8),
        lines: usize,
        size: usize,
        soon: &[Soon],
        store: impl Fn(*const u8, *mut u8),
    ) {
        let elements = LINE / size;
        for line in 0..lines {
            for soon in soon {
                let first = soon.from.wrapping_add(line * elements * soon.size);
                fetch_x86(first, elements * soon.size);
            }
            store(from.wrapping_add(line * LINE), to.wrapping_add(line * LINE));
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn stream_512(path: (*const u8, *mut u8), lines: usize, size: usize, soon: &[Soon]) {
        // SAFETY: as for this function; `store` is given whole lines within both.
        unsafe {
            stream(path, lines, size, soon, |from, to| {
                _mm512_stream_si512(to.cast(), _mm512_loadu_si512(from.cast()))
            })
        }
    }

    unsafe fn stream_128(path: (*const u8, *mut u8), lines: usize, size: usize, soon: &[Soon]) {
        // SAFETY: as for this function; SSE2 is part of x86-64.
        unsafe {
            stream(path, lines, size, soon, |from, to| {
                for at in (0..LINE).step_by(16) {
                    _mm_stream_si128(
                        to.wrapping_add(at).cast(),
                        _mm_loadu_si128(from.wrapping_add(at).cast()),
                    )
                }
            })
        }
    }

    /// See [`super::write`].
    #[inline]
    pub(super) unsafe fn write(from: &[u8], to: *mut u8, size: usize, soon: &[Soon]) {
        let head = to.align_offset(LINE).min(from.len());
        let (before, rest) = from.split_at(head);
        let lines = rest.len() / LINE;
        let (whole, after) = rest.split_at(lines * LINE);
        let (first, last) = (to.wrapping_add(head), to.wrapping_add(head + whole.len()));
        // SAFETY: the parts of the target lie within it, the middle one starts on a line, and the processor was asked what it can.
        unsafe {
            to.copy_from_nonoverlapping(before.as_ptr(), before.len());
            if Level::current() >= Level::Avx512 {
                stream_512((whole.as_ptr(), first), lines, size, soon);
            } else {
                stream_128((whole.as_ptr(), first), lines, size, soon);
            }
            last.copy_from_nonoverlapping(after.as_ptr(), after.len());
        }
    }

    /// See [`super::finish`].
    pub(super) fn finish() {
        // SAFETY: SSE is part of x86-64.
        unsafe { _mm_sfence() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod machine {
    pub(super) unsafe fn write(from: &[u8], to: *mut u8, _size: usize, _soon: &[super::Soon]) {
        // SAFETY: as for this function.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }
    pub(super) fn finish() {}
}

/// Writes `from`, elements of `size` bytes, to `to`, past the caches where the processor can, and fetches what is needed `soon`.
///
/// # Safety
/// `to` must be writable for as many bytes as `from` has, overlap them nowhere, and be read by nobody before [`finish`] was called.
#[inline]
pub(super) unsafe fn write(from: &[u8], to: *mut u8, size: usize, soon: &[Soon]) {
    // SAFETY: as for this function.
    unsafe { machine::write(from, to, size, soon) }
}

/// Has other threads see what this one has streamed.
pub(super) fn finish() {
    machine::finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_wherever_it_goes() {
        let from: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        for (at, len) in [(0, 0), (1, 3), (3, 64), (0, 64), (63, 130), (5, 900), (64, 936)] {
            let mut to = vec![0u8; 1100];
            let soon = [Soon::new(Some(to.as_mut_ptr()), 16).after(7), Soon::new(None, 8)];
            // SAFETY: `to` has room for `len` bytes from `at` on.
            unsafe { write(&from[..len], to.as_mut_ptr().add(at), 1, &soon) };
            finish();
            assert_eq!(to[at..at + len], from[..len]);
            assert!(to[..at].iter().chain(&to[at + len..]).all(|&byte| byte == 0));
        }
    }
}
