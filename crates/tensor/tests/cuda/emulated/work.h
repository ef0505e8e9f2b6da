// What the emulated driver exports that CUDA's does not: for the other emulated libraries, and for tests.
#pragma once

#include "abi.h"

// Gives work to a stream. It copies the `bytes` at `data`, for `run` to get them when the stream comes to it.
EXPORT CUresult emulated_cuda_enqueue(CUstream stream, void (*run)(const void*), const void* data, size_t bytes);
// Whether some bytes are memory of a device.
EXPORT bool emulated_cuda_has(const void* address, size_t bytes);
// Of the current device, in tenths; 0 without one.
EXPORT int emulated_cuda_capability();

// For tests: what happened so far, by the names in counters.cpp; the largest number for a name that is not there.
EXPORT uint64_t emulated_cuda_counter(const char* name);
// For tests: allocations begin on such boundaries from now on. CUDA's, of 256 bytes, hide reads a little behind the end.
EXPORT void emulated_cuda_align(size_t bytes);
