//! Captures and graphs.

use super::*;

const INVALID_VALUE: c_int = 1;
const INVALID_HANDLE: c_int = 400;
const CAPTURE_UNSUPPORTED: c_int = 900;
const CAPTURE_INVALIDATED: c_int = 901;
const CAPTURE_UNJOINED: c_int = 904;
const CAPTURE_ISOLATION: c_int = 905;
const CAPTURED_EVENT: c_int = 907;
const UPDATE_FAILURE: c_int = 910;
const GLOBAL: c_int = 0;
const RELAXED: c_int = 2;

#[test]
fn a_captured_step_is_one_launch() {
    if !is_alone("driver::captures::a_captured_step_is_one_launch", &[], None) {
        return;
    }
    let (add, stream, x) = (add(), stream(NON_BLOCKING), allocate(3));
    cu!(cuMemsetD8_v2(x, 0, 12); cuStreamBeginCapture_v2(stream, GLOBAL));
    let mut scratch = 0;
    cu!(cuMemAllocAsync(&mut scratch, 12, stream); cuMemcpyDtoDAsync_v2(scratch, x, 12, stream));
    assert_eq!((launch(add, scratch, 1.0, 3, stream), launch(add, scratch, 1.0, 3, stream)), (0, 0));
    cu!(cuMemcpyDtoDAsync_v2(x, scratch, 12, stream); cuMemFreeAsync(scratch, stream));
    let (mut graph, mut exec, mut nodes) = (null_mut(), null_mut(), 0);
    cu!(cuStreamEndCapture(stream, &mut graph); cuGraphGetNodes(graph, null_mut(), &mut nodes));
    assert_eq!((nodes, counter("kernels")), (6, 0));
    cu!(cuGraphInstantiateWithFlags(&mut exec, graph, 0); cuGraphDestroy(graph));
    let before = counter("launches");
    cu!(cuGraphLaunch(exec, stream); cuGraphLaunch(exec, stream); cuStreamSynchronize(stream));
    assert_eq!(read(x, 3), [4.0; 3]);
    assert_eq!((counter("launches"), counter("graph_launches"), counter("kernels")), (before, 2, 4));
    answers!(INVALID_HANDLE, cuGraphInstantiateWithFlags(&mut exec, graph, 0));
    cu!(cuGraphExecDestroy(exec));
    answers!(INVALID_HANDLE, cuGraphLaunch(exec, stream));
}

#[test]
fn what_a_graph_leaves_is_in_the_way_of_the_next_launch() {
    if !is_alone("driver::captures::what_a_graph_leaves_is_in_the_way_of_the_next_launch", &[], None) {
        return;
    }
    let (add, stream) = (add(), stream(NON_BLOCKING));
    let (mut x, mut graph, mut exec, mut freeing) = (0, null_mut(), null_mut(), null_mut());
    cu!(cuStreamBeginCapture_v2(stream, GLOBAL); cuMemAllocAsync(&mut x, 12, stream));
    cu!(cuMemsetD32Async(x, 0, 3, stream));
    assert_eq!(launch(add, x, 2.0, 3, stream), 0);
    cu!(cuStreamEndCapture(stream, &mut graph); cuGraphInstantiateWithFlags(&mut exec, graph, 0));
    cu!(cuGraphInstantiateWithFlags(&mut freeing, graph, 1); cuGraphLaunch(exec, stream));
    assert_eq!(read(x, 3), [2.0; 3]);
    answers!(INVALID_VALUE, cuGraphLaunch(exec, stream));
    cu!(cuMemFreeAsync(x, stream); cuGraphLaunch(exec, stream); cuGraphLaunch(freeing, stream));
    assert_eq!(read(x, 3), [2.0; 3]);
}

#[test]
fn a_graph_takes_another_of_its_form() {
    if !is_alone("driver::captures::a_graph_takes_another_of_its_form", &[], None) {
        return;
    }
    let (add, stream, x) = (add(), stream(NON_BLOCKING), allocate(3));
    let captured = |numbers: &[f32]| {
        cu!(cuStreamBeginCapture_v2(stream, RELAXED));
        for &number in numbers {
            assert_eq!(launch(add, x, number, 3, stream), 0);
        }
        let mut graph = null_mut();
        cu!(cuStreamEndCapture(stream, &mut graph));
        graph
    };
    let (mut exec, mut result) = (null_mut(), [0; 3]);
    cu!(cuMemsetD8_v2(x, 0, 12); cuGraphInstantiateWithFlags(&mut exec, captured(&[1.0]), 0));
    cu!(cuGraphExecUpdate_v2(exec, captured(&[7.0]), &mut result); cuGraphLaunch(exec, stream); cuStreamSynchronize(stream));
    assert_eq!(read(x, 3), [7.0; 3]);
    answers!(UPDATE_FAILURE, cuGraphExecUpdate_v2(exec, captured(&[1.0, 1.0]), &mut result));
    assert_eq!(result[0] as i32, 2);
}

#[test]
fn a_capture_is_spoiled_by_what_it_cannot_hold() {
    if !is_alone("driver::captures::a_capture_is_spoiled_by_what_it_cannot_hold", &[], None) {
        return;
    }
    let (add, stream, other, event, x) =
        (add(), stream(NON_BLOCKING), stream(NON_BLOCKING), event(), allocate(3));
    let mut graph = null_mut();
    let spoils = |call: &dyn Fn(), answer: c_int| {
        let mut graph = null_mut();
        cu!(cuStreamBeginCapture_v2(stream, GLOBAL));
        call();
        answers!(answer, cuStreamEndCapture(stream, &mut graph));
        assert_eq!(graph.is_null(), answer != 0);
    };
    spoils(&|| answers!(CAPTURE_UNSUPPORTED, cuMemAlloc_v2(&mut 0, 4)), CAPTURE_INVALIDATED);
    spoils(&|| answers!(CAPTURE_UNSUPPORTED, cuStreamSynchronize(stream)), CAPTURE_INVALIDATED);
    spoils(&|| answers!(CAPTURE_UNSUPPORTED, cuCtxSynchronize()), CAPTURE_INVALIDATED);
    spoils(
        &|| {
            cu!(cuEventRecord(event, stream));
            answers!(CAPTURED_EVENT, cuEventSynchronize(event));
        },
        CAPTURE_INVALIDATED,
    );
    cu!(cuEventRecord(event, other));
    spoils(&|| answers!(CAPTURE_ISOLATION, cuStreamWaitEvent(stream, event, 0)), CAPTURE_INVALIDATED);
    let fork = || {
        cu!(cuEventRecord(event, stream); cuStreamWaitEvent(other, event, 0));
        assert_eq!(launch(add, x, 1.0, 3, other), 0);
    };
    spoils(&fork, CAPTURE_UNJOINED);
    spoils(
        &|| {
            fork();
            cu!(cuEventRecord(event, other); cuStreamWaitEvent(stream, event, 0));
        },
        0,
    );
    // Another thread's call spoils a capture that is global, and not one that is relaxed.
    cu!(cuStreamBeginCapture_v2(stream, RELAXED));
    std::thread::spawn(|| allocate(1)).join().unwrap();
    cu!(cuStreamEndCapture(stream, &mut graph));
}
