//! Kernels that may begin before those in front of them are done.

use super::*;
use crate::cuda::{LaunchAttribute, LaunchConfig};

const NOT_SUPPORTED: c_int = 801;
const CAPTURE_UNSUPPORTED: c_int = 900;
/// Programmatic dependent launch, by CUDA's number.
const EARLY: c_int = 6;

/// `add`, which waits for what was launched before.
fn waiting() -> Handle {
    add_of(&ADD.replace("{\n", "{\n    wait_for_prerequisites();\n"))
}

/// Launches `function` with one attribute.
fn launch_with(id: c_int, function: Handle, to: u64, stream: Handle) -> c_int {
    let (x, n) = (1f32, 1);
    let arguments = [(&raw const to).cast(), (&raw const x).cast(), (&raw const n).cast::<c_void>()];
    let attribute = LaunchAttribute { id, pad: 0, value: 1, rest: [0; 15] };
    let (grid, block) = ([2, 1, 1], [64, 1, 1]);
    let config = LaunchConfig { grid, block, shared: 0, stream, attributes: &attribute, count: 1 };
    // SAFETY: what `add` takes; all of it is copied before this returns.
    unsafe { cuda::cuLaunchKernelEx(&config, function, arguments.as_ptr(), null()) }
}

#[test]
fn attributes_are_those_that_are_known() {
    if !is_alone("driver::early::attributes_are_those_that_are_known", &[], None) {
        return;
    }
    let (waiting, x) = (waiting(), allocate(1));
    assert_eq!(launch_with(4, waiting, x, null_mut()), NOT_SUPPORTED);
    assert_eq!([launch_with(0, waiting, x, null_mut()), counter("early_kernels") as c_int], [0; 2]);
    assert_eq!(launch_with(EARLY, waiting, x, null_mut()), 0);
    assert_eq!([counter("early_kernels"), counter("kernels")], [1, 2]);
}

#[test]
fn older_generations_do_not_know_it() {
    let settings = [("EMULATED_CUDA_CAPABILITY", "8.9")];
    if is_alone("driver::early::older_generations_do_not_know_it", &settings, None) {
        assert_eq!(launch_with(EARLY, add(), allocate(1), null_mut()), NOT_SUPPORTED);
    }
}

#[test]
fn older_drivers_do_not_record_it() {
    let settings = [("EMULATED_CUDA_DRIVER_VERSION", "12020")];
    if !is_alone("driver::early::older_drivers_do_not_record_it", &settings, None) {
        return;
    }
    let (waiting, x, stream) = (waiting(), allocate(1), stream(NON_BLOCKING));
    assert_eq!(launch_with(EARLY, waiting, x, stream), 0);
    cu!(cuStreamBeginCapture_v2(stream, 2));
    assert_eq!(launch_with(EARLY, waiting, x, stream), CAPTURE_UNSUPPORTED);
}

#[test]
fn who_does_not_wait_is_found_out() {
    let last_words = Some("add was launched to begin early, and 0 of its 128 threads have waited");
    if is_alone("driver::early::who_does_not_wait_is_found_out", &[], last_words) {
        launch_with(EARLY, add(), allocate(1), null_mut());
    }
}
