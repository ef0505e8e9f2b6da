// What tests may ask of what happened.
#pragma once

#include <cstdint>

namespace emulated {

struct Counters {
    // Calls, those that a capture recorded included.
    uint64_t launches, graph_launches, allocations, frees, synchronizations;
    // What has run, by itself or in a graph.
    uint64_t kernels, products, copies;
    // Kernels among them that might have begun before those in front of them were done.
    uint64_t early_kernels;
    uint64_t bytes_to_device, bytes_to_host, bytes_on_device;
    uint64_t modules, instantiations;
};
extern Counters counters;

}  // namespace emulated
