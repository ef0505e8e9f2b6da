//! Memory: when it is freed, and who may touch it.

use super::*;

const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;

#[test]
fn memory_is_freed_in_the_order_of_its_stream() {
    if !is_alone(
        "driver::memory::memory_is_freed_in_the_order_of_its_stream",
        &[LAZY, ("EMULATED_CUDA_MEMORY", "4096")],
        None,
    ) {
        return;
    }
    let (add, stream) = (add(), stream(NON_BLOCKING));
    let (mut x, mut y, out) = (0, 0, pinned(500));
    cu!(cuMemAllocAsync(&mut x, 2000, stream); cuMemsetD32Async(x, 0, 500, stream));
    assert_eq!(launch(add, x, 4.0, 500, stream), 0);
    cu!(cuMemcpyDtoHAsync_v2(out.as_mut_ptr().cast(), x, 2000, stream); cuMemFreeAsync(x, stream));
    answers!(INVALID_VALUE, cuMemFreeAsync(x, stream));
    // There is room once the first is freed.
    cu!(cuMemAllocAsync(&mut y, 4000, stream));
    assert_eq!(out, [4.0; 500]);
    answers!(OUT_OF_MEMORY, cuMemAllocAsync(&mut x, 2000, stream));
    let (mut available, mut total) = (0, 0);
    cu!(cuMemGetInfo_v2(&mut available, &mut total));
    assert_eq!((available, total), (0, 4096));
    cu!(cuMemFree_v2(y));
    answers!(INVALID_VALUE, cuMemFree_v2(y));
    answers!(INVALID_VALUE, cuMemAlloc_v2(&mut x, 0));
    assert_eq!((counter("live_bytes"), counter("live_allocations")), (0, 0));
}

#[test]
fn the_host_may_not_read_what_was_freed() {
    if !is_alone("driver::memory::the_host_may_not_read_what_was_freed", &[], Some("")) {
        return;
    }
    let x = allocate(1);
    cu!(cuMemFree_v2(x));
    // SAFETY: none; this must end the process.
    println!("{}", unsafe { std::ptr::read_volatile(x as *const f32) });
}

#[test]
fn the_host_may_not_read_a_strict_device() {
    if !is_alone(
        "driver::memory::the_host_may_not_read_a_strict_device",
        &[("EMULATED_CUDA_STRICT", "1")],
        Some(""),
    ) {
        return;
    }
    let (add, x) = (add(), allocate(2));
    cu!(cuMemsetD8_v2(x, 0, 8));
    assert_eq!(launch(add, x, 3.0, 2, null_mut()), 0);
    assert_eq!(read(x, 2), [3.0; 2]);
    // SAFETY: none; this must end the process.
    println!("{}", unsafe { std::ptr::read_volatile(x as *const f32) });
}

#[test]
fn a_kernel_may_not_read_behind_its_memory() {
    if !is_alone(
        "driver::memory::a_kernel_may_not_read_behind_its_memory",
        &[],
        Some(", 0 bytes behind an allocation of 256 bytes"),
    ) {
        return;
    }
    let x = allocate(64);
    launch(add(), x, 3.0, 65, null_mut());
    cu!(cuCtxSynchronize());
}
