// Devices, their contexts, and what the environment says of them.
#pragma once

#include "call.h"

#include <vector>

namespace emulated {

struct Stream;

// EMULATED_CUDA_DEVICES, _MEMORY (bytes of each), _DRIVER_VERSION, _CAPABILITY ("9.0", which says what instructions kernels have), _ORDER
// ("eager": work is done when it is given; "lazy": when someone waits for it), _STRICT (the host may not touch a device's memory), _LOST_AFTER
// (launches, after which the device is lost).
struct Settings {
    int devices, driver_version, major, minor;
    size_t memory;
    bool is_lazy, is_strict;
    uint64_t lost_after;
};
const Settings& settings();

struct Context {
    int device;
    unsigned flags = 0;
    // Devices whose memory it may use.
    std::vector<int> peers = {};
    std::shared_ptr<Stream> null_stream = nullptr;
    // Also those that were destroyed with work left.
    std::vector<std::shared_ptr<Stream>> streams = {};
};

struct Device {
    size_t used = 0, most_used = 0;
    uint64_t release_threshold = 0;
    // The primary context, while someone retains it.
    CUcontext primary = nullptr;
    unsigned retained = 0, flags = 0;
    // Why it does not work any more.
    CUresult lost = CUDA_SUCCESS;
};
Device& device(int ordinal);

// Of this thread. Fails where there is none.
std::shared_ptr<Context> current();
std::shared_ptr<Context> context_at(CUcontext handle);
CUcontext current_handle();

// The most dynamic shared memory of a block that a kernel may ask for.
size_t most_shared_memory();
constexpr size_t DEFAULT_SHARED_MEMORY = 48 << 10;

}  // namespace emulated
