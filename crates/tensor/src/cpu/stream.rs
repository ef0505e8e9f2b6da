//! Stores that go past the caches.
//!
//! A store to a line that is not in the cache reads the line first, so a result too large to be found there later costs its memory
//! traffic twice. A streaming store does not read. It also leaves the bus to the reads of what comes next, which are asked for in
//! between: while a chunk goes out, the next one comes in.

/// Memory that is read soon. Only a hint: it may lie anywhere.
pub(super) struct Soon {
    from: *const u8,
    bytes: usize,
}

impl Soon {
    /// `bytes` bytes from `from` on; none without an address.
    pub(super) fn new(from: Option<*mut u8>, bytes: usize) -> Soon {
        from.map_or(Soon { from: std::ptr::null(), bytes: 0 }, |from| Soon { from, bytes })
    }

    /// Fetches it.
    #[inline]
    pub(super) fn fetch(self) {
        machine::fetch(self)
    }
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::x86_64::*;

    use super::Soon;

    const LINE: usize = 64;

    /// Writes `lines` whole cache lines by `store`, and fetches what is needed soon.
    ///
    /// # Safety
    /// As for [`super::write`], with a target that starts on a line.
    #[inline(always)]
    unsafe fn stream(
        from: *const u8,
        to: *mut u8,
        lines: usize,
        soon: &[Soon],
        store: impl Fn(*const u8, *mut u8),
    ) {
        for line in 0..lines {
            for soon in soon {
                let step = soon.bytes / lines;
                for at in (0..step).step_by(LINE) {
                    let address = soon.from.wrapping_add(line * step + at);
                    // SAFETY: a hint never faults, wherever it points.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
                }
            }
            store(from.wrapping_add(line * LINE), to.wrapping_add(line * LINE));
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn stream_512(from: *const u8, to: *mut u8, lines: usize, soon: &[Soon]) {
        // SAFETY: as for this function; `store` is given whole lines within both.
        unsafe {
            stream(from, to, lines, soon, |from, to| {
                _mm512_stream_si512(to.cast(), _mm512_loadu_si512(from.cast()))
            })
        }
    }

    unsafe fn stream_128(from: *const u8, to: *mut u8, lines: usize, soon: &[Soon]) {
        // SAFETY: as for this function; SSE2 is part of x86-64.
        unsafe {
            stream(from, to, lines, soon, |from, to| {
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
    pub(super) unsafe fn write(from: &[u8], to: *mut u8, soon: &[Soon]) {
        let head = to.align_offset(LINE).min(from.len());
        let (before, rest) = from.split_at(head);
        let lines = rest.len() / LINE;
        let (whole, after) = rest.split_at(lines * LINE);
        let (first, last) = (to.wrapping_add(head), to.wrapping_add(head + whole.len()));
        // SAFETY: the parts of the target lie within it, the middle one starts on a line, and the processor was asked what it can.
        unsafe {
            to.copy_from_nonoverlapping(before.as_ptr(), before.len());
            if is_x86_feature_detected!("avx512f") {
                stream_512(whole.as_ptr(), first, lines, soon);
            } else {
                stream_128(whole.as_ptr(), first, lines, soon);
            }
            last.copy_from_nonoverlapping(after.as_ptr(), after.len());
        }
    }

    /// See [`Soon::fetch`].
    #[inline]
    pub(super) fn fetch(soon: Soon) {
        for at in (0..soon.bytes).step_by(LINE) {
            // SAFETY: a hint never faults, wherever it points.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(soon.from.wrapping_add(at).cast()) };
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
    pub(super) unsafe fn write(from: &[u8], to: *mut u8, _soon: &[super::Soon]) {
        // SAFETY: as for this function.
        unsafe { to.copy_from_nonoverlapping(from.as_ptr(), from.len()) }
    }
    pub(super) fn fetch(_soon: super::Soon) {}
    pub(super) fn finish() {}
}

/// Writes `from` to `to`, past the caches where the processor can, and fetches what is needed `soon`.
///
/// # Safety
/// `to` must be writable for as many bytes as `from` has, overlap them nowhere, and be read by nobody before [`finish`] was called.
pub(super) unsafe fn write(from: &[u8], to: *mut u8, soon: &[Soon]) {
    // SAFETY: as for this function.
    unsafe { machine::write(from, to, soon) }
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
            let soon = [Soon::new(Some(to.as_mut_ptr()), 777), Soon::new(None, 5)];
            // SAFETY: `to` has room for `len` bytes from `at` on.
            unsafe { write(&from[..len], to.as_mut_ptr().add(at), &soon) };
            finish();
            assert_eq!(to[at..at + len], from[..len]);
            assert!(to[..at].iter().chain(&to[at + len..]).all(|&byte| byte == 0));
        }
    }
}
