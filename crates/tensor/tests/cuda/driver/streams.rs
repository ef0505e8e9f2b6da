//! When work is done, and who waits for whom.

use super::*;

const NOT_READY: c_int = 600;

#[test]
fn work_is_done_when_someone_waits() {
    if !is_alone("driver::streams::work_is_done_when_someone_waits", &[LAZY], None) {
        return;
    }
    let (add, first, second) = (add(), stream(NON_BLOCKING), stream(NON_BLOCKING));
    let (x, host) = (allocate(3), pinned(3));
    host.fill(1.0);
    cu!(cuMemcpyHtoDAsync_v2(x, host.as_ptr().cast(), 12, first));
    assert_eq!(launch(add, x, 10.0, 3, first), 0);
    // Nothing has read it yet.
    host.fill(2.0);
    let pageable = [5f32; 3];
    let y = allocate(3);
    cu!(cuMemcpyHtoDAsync_v2(y, pageable.as_ptr().cast(), 12, second));
    assert_eq!(launch(add, y, 1.0, 3, second), 0);
    assert_eq!(counter("kernels"), 0);
    // The null stream does not wait for streams that do not want it to.
    assert!(read(x, 3)[0].is_nan());
    answers!(NOT_READY, cuStreamQuery(first));
    answers!(0, cuStreamQuery(first));
    assert_eq!((read(x, 3), counter("kernels")), (vec![12.0; 3], 1));
    cu!(cuCtxSynchronize());
    assert_eq!(read(y, 3), [6.0; 3]);
}

#[test]
fn streams_wait_for_events() {
    if !is_alone("driver::streams::streams_wait_for_events", &[LAZY], None) {
        return;
    }
    let (add, first, second, event) = (add(), stream(NON_BLOCKING), stream(NON_BLOCKING), event());
    let (x, out) = (allocate(4), pinned(4));
    answers!(0, cuEventQuery(event));
    cu!(cuMemsetD32Async(x, 0, 4, first));
    assert_eq!(launch(add, x, 1.0, 4, first), 0);
    cu!(cuEventRecord(event, first));
    // After the event, which waits for nothing more.
    assert_eq!(launch(add, x, 100.0, 4, first), 0);
    answers!(NOT_READY, cuEventQuery(event));
    answers!(0, cuEventQuery(event));
    cu!(cuMemcpyDtoHAsync_v2(out.as_mut_ptr().cast(), x, 16, second); cuStreamSynchronize(second));
    assert_eq!(out, [1.0; 4]);
    cu!(cuEventRecord(event, first); cuStreamWaitEvent(second, event, 0));
    cu!(cuMemcpyDtoHAsync_v2(out.as_mut_ptr().cast(), x, 16, second); cuStreamSynchronize(second));
    assert_eq!(out, [101.0; 4]);
}

#[test]
fn the_null_stream_waits_for_blocking_streams() {
    if !is_alone("driver::streams::the_null_stream_waits_for_blocking_streams", &[LAZY], None) {
        return;
    }
    let (add, blocking, null) = (add(), stream(0), null_mut());
    let x = allocate(2);
    cu!(cuMemsetD8_v2(x, 0, 8));
    assert_eq!(launch(add, x, 1.0, 2, blocking), 0);
    assert_eq!(launch(add, x, 2.0, 2, null), 0);
    assert_eq!(read(x, 2), [3.0; 2]);
    assert_eq!(launch(add, x, 2.0, 2, null), 0);
    let out = pinned(2);
    cu!(cuMemcpyDtoHAsync_v2(out.as_mut_ptr().cast(), x, 8, blocking); cuStreamSynchronize(blocking));
    assert_eq!(out, [5.0; 2]);
}
