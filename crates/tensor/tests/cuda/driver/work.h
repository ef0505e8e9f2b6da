// How other emulated libraries give work to a stream. What the driver exports for tests besides is `uint64_t emulated_cuda_counter(const char*)`.
#pragma once

#include "abi.h"

// Copies the `bytes` at `data`, for `run` to get them when the stream comes to it.
EXPORT CUresult emulated_cuda_enqueue(CUstream stream, void (*run)(const void*), const void* data, size_t bytes);
// Whether some bytes are memory of a device.
EXPORT bool emulated_cuda_has(const void* address, size_t bytes);
// Of the current device, in tenths; 0 without one.
EXPORT int emulated_cuda_capability();
