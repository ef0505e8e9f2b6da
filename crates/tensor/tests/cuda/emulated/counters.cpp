#include "counters.h"

#include "device.h"
#include "memory.h"
#include "work.h"

#include <cstring>

namespace emulated {

Counters counters;

}  // namespace emulated

using namespace emulated;

EXPORT uint64_t emulated_cuda_counter(const char* name) {
    std::lock_guard guard(lock);
    const struct {
        const char* name;
        uint64_t value;
    } all[] = {
        {"launches", counters.launches},
        {"graph_launches", counters.graph_launches},
        {"allocations", counters.allocations},
        {"frees", counters.frees},
        {"synchronizations", counters.synchronizations},
        {"kernels", counters.kernels},
        {"early_kernels", counters.early_kernels},
        {"products", counters.products},
        {"copies", counters.copies},
        {"bytes_to_device", counters.bytes_to_device},
        {"bytes_to_host", counters.bytes_to_host},
        {"bytes_on_device", counters.bytes_on_device},
        {"modules", counters.modules},
        {"instantiations", counters.instantiations},
        {"live_bytes", live_bytes()},
        {"live_allocations", live_allocations()},
    };
    for (auto& one : all) {
        if (!strcmp(one.name, name)) return one.value;
    }
    return UINT64_MAX;
}
