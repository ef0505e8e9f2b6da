//! What CUDA refuses, and how.

use super::*;

const INVALID_VALUE: c_int = 1;
const NOT_INITIALIZED: c_int = 3;
const NO_DEVICE: c_int = 100;
const INVALID_CONTEXT: c_int = 201;
const NO_BINARY_FOR_GPU: c_int = 209;
const ECC_UNCORRECTABLE: c_int = 214;
const PEER_ACCESS_ALREADY_ENABLED: c_int = 704;
const INVALID_HANDLE: c_int = 400;
const OUT_OF_RESOURCES: c_int = 701;

#[test]
fn launches_are_refused_as_cuda_refuses_them() {
    if !is_alone("driver::refusals::launches_are_refused_as_cuda_refuses_them", &[], None) {
        return;
    }
    let (add, x) = (add(), allocate(1));
    let refused = |grid, block, shared| launch_as((grid, block, shared), add, x, 1.0, 1, null_mut());
    assert_eq!(refused([1, 1, 1], 1025, 0), INVALID_VALUE);
    assert_eq!(refused([1, 1, 1], 257, 0), OUT_OF_RESOURCES);
    assert_eq!(refused([1, 65536, 1], 1, 0), INVALID_VALUE);
    assert_eq!(refused([0, 1, 1], 1, 0), INVALID_VALUE);
    assert_eq!(refused([1, 1, 1], 1, 49153), INVALID_VALUE);
    answers!(INVALID_VALUE, cuFuncSetAttribute(add, 8, attribute(97) + 1));
    cu!(cuFuncSetAttribute(add, 8, attribute(97)));
    assert_eq!(refused([1, 1, 1], 1, 49153), 0);
    let gone = stream(0);
    cu!(cuStreamDestroy_v2(gone));
    assert_eq!(launch(add, x, 1.0, 1, gone), INVALID_HANDLE);
    std::thread::spawn(|| answers!(INVALID_CONTEXT, cuCtxSynchronize())).join().unwrap();
    // SAFETY: the child does nothing else.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it must be refused.
        unsafe { libc::_exit(cuda::cuInit(0)) };
    }
    let mut status = 0;
    // SAFETY: the child that was forked.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(libc::WEXITSTATUS(status), NOT_INITIALIZED);
}

#[test]
fn a_lost_device_stays_lost() {
    if !is_alone("driver::refusals::a_lost_device_stays_lost", &[("EMULATED_CUDA_LOST_AFTER", "2")], None) {
        return;
    }
    let (add, x) = (add(), allocate(1));
    assert_eq!((launch(add, x, 1.0, 1, null_mut()), launch(add, x, 1.0, 1, null_mut())), (0, 0));
    assert_eq!(launch(add, x, 1.0, 1, null_mut()), ECC_UNCORRECTABLE);
    answers!(ECC_UNCORRECTABLE, cuMemAlloc_v2(&mut 0, 4));
    answers!(ECC_UNCORRECTABLE, cuCtxSynchronize());
}

#[test]
fn there_may_be_no_device() {
    if !is_alone("driver::refusals::there_may_be_no_device", &[("EMULATED_CUDA_DEVICES", "0")], None) {
        return;
    }
    answers!(NOT_INITIALIZED, cuDeviceGetCount(&mut 0));
    answers!(NO_DEVICE, cuInit(0));
}

#[test]
fn modules_are_for_a_generation() {
    if !is_alone(
        "driver::refusals::modules_are_for_a_generation",
        &[("EMULATED_CUDA_CAPABILITY", "8.6")],
        None,
    ) {
        return;
    }
    bind();
    assert_eq!((attribute(75), attribute(76)), (8, 6));
    let said =
        compile("wrong.cu", "extern \"C\" __global__ void f() { undeclared = 1; }", &[], &[]).unwrap_err();
    assert!(said.starts_with("6: ") && said.contains("undeclared"), "{said}");
    assert!(compile("add.cu", ADD, &[], &["--no-such-option".into()]).unwrap_err().starts_with("5: "));
    let mut module = null_mut();
    let source = CString::new(ADD).unwrap();
    for (architecture, answer) in
        [("sm_80", 0), ("sm_86", 0), ("sm_75", NO_BINARY_FOR_GPU), ("sm_90", NO_BINARY_FOR_GPU)]
    {
        let option = CString::new(format!("--gpu-architecture={architecture}")).unwrap();
        let (mut program, mut size) = (null_mut(), 0);
        cu!(nvrtcCreateProgram(&mut program, source.as_ptr(), null(), 0, null(), null()));
        cu!(nvrtcCompileProgram(program, 1, &option.as_ptr()); nvrtcGetCUBINSize(program, &mut size));
        let mut image = vec![0; size];
        cu!(nvrtcGetCUBIN(program, image.as_mut_ptr()));
        answers!(answer, cuModuleLoadData(&mut module, image.as_ptr().cast()));
        // PTX of an earlier generation is compiled for the device.
        cu!(nvrtcGetPTXSize(program, &mut size));
        let mut image = vec![0; size];
        cu!(nvrtcGetPTX(program, image.as_mut_ptr()));
        if architecture == "sm_75" {
            answers!(0, cuModuleLoadData(&mut module, image.as_ptr().cast()));
        }
        cu!(nvrtcDestroyProgram(&mut program));
    }
    cu!(cuModuleUnload(module));
    answers!(INVALID_HANDLE, cuModuleUnload(module));
}

#[test]
fn devices_have_contexts_of_their_own() {
    if !is_alone(
        "driver::refusals::devices_have_contexts_of_their_own",
        &[("EMULATED_CUDA_DEVICES", "2")],
        None,
    ) {
        return;
    }
    let (add, first, x) = (add(), stream(NON_BLOCKING), allocate(2));
    let (mut context, mut other, mut y) = (null_mut(), null_mut(), 0);
    cu!(cuMemsetD8_v2(x, 0, 8); cuCtxGetCurrent(&mut context); cuDevicePrimaryCtxRetain(&mut other, 1));
    cu!(cuCtxSetCurrent(other); cuMemAlloc_v2(&mut y, 8));
    assert_eq!(launch(add, y, 1.0, 2, null_mut()), INVALID_HANDLE);
    assert_eq!(launch(add, x, 1.0, 2, first), INVALID_HANDLE);
    cu!(cuCtxEnablePeerAccess(context, 0));
    answers!(PEER_ACCESS_ALREADY_ENABLED, cuCtxEnablePeerAccess(context, 0));
    cu!(cuMemcpyPeerAsync(y, other, x, context, 8, null_mut()));
    assert_eq!(read(y, 2), [0.0; 2]);
    answers!(INVALID_VALUE, cuMemcpyPeerAsync(y, context, x, context, 8, null_mut()));
    cu!(cuDevicePrimaryCtxRelease_v2(1));
    answers!(INVALID_CONTEXT, cuMemAlloc_v2(&mut y, 8));
}
