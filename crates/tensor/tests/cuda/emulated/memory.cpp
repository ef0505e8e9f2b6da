#include "memory.h"

#include "counters.h"
#include "stream.h"
#include "work.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include <sys/mman.h>

namespace emulated {

// As CUDA promises; the bytes between an end and the next such boundary hold a pattern.
static size_t alignment = 256;
constexpr size_t PAGE = 4096;
constexpr unsigned char FRESH = 0xff, BEHIND = 0xa5;
// Freed memory keeps its addresses until so much was freed after it.
constexpr size_t KEPT_BYTES = size_t(4) << 30, KEPT_COUNT = 8192;

static auto& known = *new std::map<uintptr_t, Allocation*>;
static auto& live = *new std::unordered_map<uintptr_t, std::shared_ptr<Allocation>>;
static auto& freed = *new std::deque<std::shared_ptr<Allocation>>;
static size_t freed_bytes = 0;

static size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

Allocation::Allocation(int device, size_t bytes, bool is_ordered, bool is_of_graph)
    : device(device), bytes(bytes), taken(up(bytes, alignment)), is_ordered(is_ordered), is_of_graph(is_of_graph) {
    mapped = up(taken, PAGE) + PAGE;
    void* place = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(place != MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
    map = static_cast<unsigned char*>(place);
    start = uintptr_t(map) + mapped - PAGE - taken;
    known[start] = this;
}

Allocation::~Allocation() {
    close();
    known.erase(start);
    munmap(map, mapped);
}

void Allocation::allow(bool access) const {
    if (is_open) mprotect(map, mapped - PAGE, access ? PROT_READ | PROT_WRITE : PROT_NONE);
}

void Allocation::open() {
    if (!is_open) {
        is_open = true;
        auto& of = emulated::device(device);
        of.used += taken;
        of.most_used = std::max(of.most_used, of.used);
    }
    is_freed = false;
    allow(true);
    memset(reinterpret_cast<void*>(start), FRESH, bytes);
    memset(reinterpret_cast<void*>(start + bytes), BEHIND, taken - bytes);
}

void Allocation::close() {
    if (!is_open) return;
    allow(true);
    for (size_t i = bytes; i < taken; i++) {
        if (reinterpret_cast<unsigned char*>(start)[i] == BEHIND) continue;
        fprintf(stderr, "emulated CUDA: byte %zu of an allocation of %zu bytes was written\n", i, bytes);
        abort();
    }
    allow(false);
    madvise(map, mapped, MADV_DONTNEED);
    is_open = false;
    emulated::device(device).used -= taken;
}

Allocation* allocation_before(CUdeviceptr address) {
    auto after = known.upper_bound(address);
    return after == known.begin() ? nullptr : std::prev(after)->second;
}
Allocation* allocation_of(CUdeviceptr address) {
    Allocation* found = allocation_before(address);
    return found && found->has(address) ? found : nullptr;
}

Allocation& require_device(CUdeviceptr address, size_t bytes) {
    Allocation* found = allocation_of(address);
    require(found && !found->is_freed && bytes <= found->start + found->bytes - address, CUDA_ERROR_INVALID_VALUE);
    return *found;
}

std::shared_ptr<Allocation> allocate(size_t bytes, bool is_ordered, bool is_of_graph) {
    require(bytes > 0, CUDA_ERROR_INVALID_VALUE);
    int ordinal = current()->device;
    Device& of = device(ordinal);
    auto fits = [&] { return bytes <= settings().memory && up(bytes, alignment) <= settings().memory - of.used; };
    if (!fits()) synchronize(*current());
    require(fits(), CUDA_ERROR_OUT_OF_MEMORY);
    counters.allocations++;
    return std::make_shared<Allocation>(ordinal, bytes, is_ordered, is_of_graph);
}

uint64_t live_bytes() {
    uint64_t sum = 0;
    for (int i = 0; i < settings().devices; i++) sum += device(i).used;
    return sum;
}
uint64_t live_allocations() { return live.size(); }

int Access::depth = 0;
Access::Access() {
    if (depth++ > 0 || !settings().is_strict) return;
    for (auto& [start, allocation] : known) allocation->allow(true);
}
Access::~Access() {
    if (--depth > 0 || !settings().is_strict) return;
    for (auto& [start, allocation] : known) allocation->allow(false);
}

static CUdeviceptr give(std::shared_ptr<Allocation> made) {
    Access access;
    made->open();
    live[made->start] = made;
    return made->start;
}

// What is to be freed, from now on unknown to all calls.
static std::shared_ptr<Allocation> take(CUdeviceptr address) {
    auto found = live.find(address);
    require(found != live.end(), CUDA_ERROR_INVALID_VALUE);
    std::shared_ptr<Allocation> taken = std::move(found->second);
    live.erase(found);
    taken->is_freed = true;
    counters.frees++;
    return taken;
}

static void bury(std::shared_ptr<Allocation> dead) {
    dead->close();
    freed_bytes += dead->taken;
    freed.push_back(std::move(dead));
    while (freed_bytes > KEPT_BYTES || freed.size() > KEPT_COUNT) {
        freed_bytes -= freed.front()->taken;
        freed.pop_front();
    }
}

}  // namespace emulated

using namespace emulated;

EXPORT void emulated_cuda_align(size_t bytes) {
    std::lock_guard guard(lock);
    alignment = bytes;
}

// A device has one pool, whose handle is its ordinal.
static CUmemoryPool pool_of(int ordinal) { return reinterpret_cast<CUmemoryPool>(uintptr_t(0x9001 + ordinal)); }
static Device& device_of(CUmemoryPool pool) {
    uintptr_t ordinal = reinterpret_cast<uintptr_t>(pool) - 0x9001;
    require(ordinal < uintptr_t(settings().devices), CUDA_ERROR_INVALID_VALUE);
    return device(int(ordinal));
}

EXPORT CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t bytes) {
    return call(Needs::CONTEXT, [&] {
        forbid_in_captures();
        *address = give(allocate(bytes, false, false));
    });
}

EXPORT CUresult cuMemAllocAsync(CUdeviceptr* address, size_t bytes, CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = stream_at(handle);
        if (!stream->capture) {
            *address = give(allocate(bytes, true, false));
            return;
        }
        std::shared_ptr<Allocation> made = allocate(bytes, true, true);
        *address = made->start;
        enqueue(stream, {NODE_MEM_ALLOC, [made] { made->open(); }, "an allocation", made});
    });
}

EXPORT CUresult cuMemAllocFromPoolAsync(CUdeviceptr* address, size_t bytes, CUmemoryPool pool, CUstream stream) {
    CUresult found = call(Needs::CONTEXT, [&] { require(&device_of(pool) == &device(current()->device), CUDA_ERROR_INVALID_VALUE); });
    return found == CUDA_SUCCESS ? cuMemAllocAsync(address, bytes, stream) : found;
}

EXPORT CUresult cuMemFree_v2(CUdeviceptr address) {
    return call(Needs::CONTEXT, [&] {
        if (!address) return;
        forbid_in_captures();
        Allocation* found = allocation_of(address);
        require(found && found->start == address && !found->is_freed, CUDA_ERROR_INVALID_VALUE);
        for (auto& stream : current()->streams) run(*stream);
        found->is_left = false;
        if (found->is_of_graph) found->close();
        else bury(take(address));
    });
}

EXPORT CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = stream_at(handle);
        Allocation* found = allocation_of(address);
        require(found && found->start == address && !found->is_freed, CUDA_ERROR_INVALID_VALUE);
        if (found->is_of_graph) {
            std::shared_ptr<Allocation> of_graph = found->shared_from_this();
            if (!stream->capture) of_graph->is_left = false;
            enqueue(stream, {NODE_MEM_FREE, [of_graph] { of_graph->close(); }, "a release", of_graph});
            return;
        }
        // A graph frees only what it owns.
        if (stream->capture) stream->capture->fail(CUDA_ERROR_INVALID_VALUE);
        std::shared_ptr<Allocation> taken = take(address);
        enqueue(stream, {NODE_MEM_FREE, [taken] { bury(taken); }, "a release"});
    });
}

EXPORT CUresult cuMemGetInfo_v2(size_t* available, size_t* total) {
    return call(Needs::CONTEXT, [&] {
        *total = settings().memory;
        *available = settings().memory - device(current()->device).used;
    });
}

EXPORT CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        *pool = pool_of(ordinal);
    });
}
EXPORT CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice ordinal) { return cuDeviceGetDefaultMemPool(pool, ordinal); }

EXPORT CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute of, void* value) {
    return call(Needs::DRIVER, [&] {
        Device& owner = device_of(pool);
        switch (of) {
            case POOL_REUSE_FOLLOW_EVENT_DEPENDENCIES:
            case POOL_REUSE_ALLOW_OPPORTUNISTIC:
            case POOL_REUSE_ALLOW_INTERNAL_DEPENDENCIES: return;
            case POOL_RELEASE_THRESHOLD: owner.release_threshold = *static_cast<uint64_t*>(value); return;
            case POOL_RESERVED_MEM_HIGH:
            case POOL_USED_MEM_HIGH:
                require(*static_cast<uint64_t*>(value) == 0, CUDA_ERROR_INVALID_VALUE);
                owner.most_used = owner.used;
                return;
            default: throw Failure{CUDA_ERROR_INVALID_VALUE};
        }
    });
}

EXPORT CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute of, void* value) {
    return call(Needs::DRIVER, [&] {
        Device& owner = device_of(pool);
        switch (of) {
            case POOL_REUSE_FOLLOW_EVENT_DEPENDENCIES:
            case POOL_REUSE_ALLOW_OPPORTUNISTIC:
            case POOL_REUSE_ALLOW_INTERNAL_DEPENDENCIES: *static_cast<int*>(value) = 1; return;
            case POOL_RELEASE_THRESHOLD: *static_cast<uint64_t*>(value) = owner.release_threshold; return;
            case POOL_RESERVED_MEM_CURRENT:
            case POOL_USED_MEM_CURRENT: *static_cast<uint64_t*>(value) = owner.used; return;
            case POOL_RESERVED_MEM_HIGH:
            case POOL_USED_MEM_HIGH: *static_cast<uint64_t*>(value) = owner.most_used; return;
            default: throw Failure{CUDA_ERROR_INVALID_VALUE};
        }
    });
}

EXPORT CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t) {
    return call(Needs::DRIVER, [&] { device_of(pool); });
}
EXPORT CUresult cuDeviceGraphMemTrim(CUdevice ordinal) {
    return call(Needs::DRIVER, [&] { device(ordinal); });
}
