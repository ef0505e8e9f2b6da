// What a library of emulated kernels says about each.
#pragma once

#include <stddef.h>

namespace emulator {

struct Kernel {
    // Grid and block in x, y and z, bytes of dynamic shared memory, where each argument lies, and whether threads and blocks come in turn from the
    // last to the first. Gives how many threads have waited for what was launched before.
    size_t (*run)(const unsigned* geometry, size_t shared, void* const* arguments, int backwards);
    const size_t* sizes;
    size_t count;
    // The most of a block.
    size_t threads;
};

}  // namespace emulator
