// Memory of devices. It ends where a page ends that nobody may touch, is NaN until it is written, and nobody may touch it once it is freed.
#pragma once

#include "device.h"

namespace emulated {

class Allocation : public std::enable_shared_from_this<Allocation> {
    unsigned char* map;
    size_t mapped;
    bool is_open = false;

  public:
    const int device;
    // As it was asked for, and what it takes of the device.
    const size_t bytes, taken;
    // Of cuMemAllocAsync; of a graph, which opens and closes it at each launch.
    const bool is_ordered, is_of_graph;
    // Someone has asked to free it; that may wait in a stream.
    bool is_freed = false;
    // Of a graph that was launched, and not freed after it.
    bool is_left = false;
    uintptr_t start;

    Allocation(int device, size_t bytes, bool is_ordered, bool is_of_graph);
    ~Allocation();
    Allocation(const Allocation&) = delete;

    // Makes it usable, with fresh contents; or not usable, which also finds what was written between its end and that of its pages.
    void open();
    void close();
    void allow(bool access) const;
    bool has(uintptr_t address) const { return address >= start && address < start + bytes; }
};

// The last that begins at or before `address`; null where there is none. Also of those that were freed some time ago.
Allocation* allocation_before(CUdeviceptr address);
// The one that `address` is in; null for memory of the host.
Allocation* allocation_of(CUdeviceptr address);
// Fails unless all of it is within one that was not freed.
Allocation& require_device(CUdeviceptr address, size_t bytes);
// Whether all of it is host memory that devices read as it is when they get there.
bool is_pinned(const void* address, size_t bytes);

// Memory on the current device, or what CUDA says where there is not enough. Work that waits is done first where that frees some.
std::shared_ptr<Allocation> allocate(size_t bytes, bool is_ordered, bool is_of_graph);

uint64_t live_bytes();
uint64_t live_allocations();

// Devices work as long as one of these lives: with EMULATED_CUDA_STRICT their memory is closed to all at other times.
class Access {
    static int depth;

  public:
    Access();
    ~Access();
};

}  // namespace emulated
