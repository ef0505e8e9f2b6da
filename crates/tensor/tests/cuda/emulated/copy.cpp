// Copies and fills, and the host memory that devices read and write by themselves.
#include "counters.h"
#include "memory.h"
#include "stream.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include <sys/mman.h>

namespace emulated {

struct Pinned {
    size_t bytes;
    // Registered by its owner, or ours.
    bool is_registered;
};
static auto& pinned = *new std::map<uintptr_t, Pinned>;

static const std::pair<const uintptr_t, Pinned>* pinned_range(uintptr_t address) {
    auto after = pinned.upper_bound(address);
    if (after == pinned.begin()) return nullptr;
    auto& found = *std::prev(after);
    return address < found.first + found.second.bytes ? &found : nullptr;
}

bool is_pinned(const void* address, size_t bytes) {
    auto* range = pinned_range(uintptr_t(address));
    return range && uintptr_t(address) + bytes <= range->first + range->second.bytes;
}

// One end of a copy: of a device, which is checked, or of the host.
struct End {
    bool is_device, is_pageable;
    End(CUdeviceptr address, size_t bytes) : is_device(allocation_of(address)) {
        if (is_device) require_device(address, bytes);
        is_pageable = !is_device && !is_pinned(reinterpret_cast<void*>(address), bytes);
    }
};

static void move(CUdeviceptr to, bool to_device, const void* from, bool from_device, size_t bytes) {
    memmove(reinterpret_cast<void*>(to), from, bytes);
    counters.copies++;
    (to_device ? from_device ? counters.bytes_on_device : counters.bytes_to_device : counters.bytes_to_host) += bytes;
}

// Host memory that is not pinned is read at once, and is written before the call returns.
static void copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, const std::shared_ptr<Stream>& stream) {
    if (bytes == 0) return;
    End target(to, bytes), source(from, bytes);
    auto* data = reinterpret_cast<const unsigned char*>(from);
    if (!source.is_pageable && !target.is_pageable) {
        enqueue(stream, {NODE_MEMCPY, [=] { move(to, target.is_device, data, source.is_device, bytes); }, "a copy"});
        return;
    }
    if (stream->capture) stream->capture->fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (target.is_device) {
        enqueue(stream, {NODE_MEMCPY, [=, staged = std::vector<unsigned char>(data, data + bytes)] {
                             move(to, true, staged.data(), false, bytes);
                         }, "a copy"});
        return;
    }
    enqueue(stream, {NODE_MEMCPY, [=] { move(to, false, data, source.is_device, bytes); }, "a copy"});
    run(*stream);
}

static CUresult copy_in(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream handle) {
    return call(Needs::CONTEXT, [&] { copy(to, from, bytes, stream_at(handle)); });
}

// In the null stream, and done when the call returns, where the host takes part.
static CUresult copy_now(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return call(Needs::CONTEXT, [&] {
        forbid_in_captures();
        std::shared_ptr<Stream> stream = current()->null_stream;
        forbid_beside_captures(*stream);
        copy(to, from, bytes, stream);
        if (allocation_of(to) && allocation_of(from)) return;
        counters.synchronizations++;
        run(*stream);
    });
}

static CUdeviceptr address(const void* host) { return reinterpret_cast<CUdeviceptr>(host); }

// Of a device, or the driver says so at once.
static bool is_device(CUdeviceptr address, size_t bytes) {
    if (bytes == 0 || is_forked()) return true;  // The call says that it was.
    std::lock_guard guard(lock);
    return allocation_of(address);
}

template <typename Value> static CUresult fill(CUdeviceptr to, Value value, size_t count, CUstream handle, bool is_in_stream) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = is_in_stream ? stream_at(handle) : current()->null_stream;
        if (count == 0) return;
        require(to % sizeof(Value) == 0 && count <= SIZE_MAX / sizeof(Value), CUDA_ERROR_INVALID_VALUE);
        require_device(to, count * sizeof(Value));
        enqueue(stream, {NODE_MEMSET, [=] { std::fill_n(reinterpret_cast<Value*>(to), count, value); }, "a fill"});
    });
}

}  // namespace emulated

using namespace emulated;

EXPORT CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy_now(to, from, bytes); }
EXPORT CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) { return copy_in(to, from, bytes, stream); }

EXPORT CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, size_t bytes) {
    return is_device(to, bytes) ? copy_now(to, address(from), bytes) : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t bytes, CUstream stream) {
    return is_device(to, bytes) ? copy_in(to, address(from), bytes, stream) : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, size_t bytes) {
    return is_device(from, bytes) ? copy_now(address(to), from, bytes) : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return is_device(from, bytes) ? copy_in(address(to), from, bytes, stream) : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return is_device(to, bytes) && is_device(from, bytes) ? copy_now(to, from, bytes) : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
    return is_device(to, bytes) && is_device(from, bytes) ? copy_in(to, from, bytes, stream) : CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context, size_t bytes, CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        if (bytes == 0) return;
        require(require_device(to, bytes).device == context_at(to_context)->device, CUDA_ERROR_INVALID_VALUE);
        require(require_device(from, bytes).device == context_at(from_context)->device, CUDA_ERROR_INVALID_VALUE);
        copy(to, from, bytes, stream_at(handle));
    });
}

EXPORT CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) { return fill(to, value, count, nullptr, false); }
EXPORT CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) { return fill(to, value, count, stream, true); }
EXPORT CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) { return fill(to, value, count, nullptr, false); }
EXPORT CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream) {
    return fill(to, value, count, stream, true);
}
EXPORT CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) { return fill(to, value, count, nullptr, false); }
EXPORT CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) { return fill(to, value, count, stream, true); }

EXPORT CUresult cuMemHostAlloc(void** host, size_t bytes, unsigned) {
    return call(Needs::CONTEXT, [&] {
        require(host && bytes > 0, CUDA_ERROR_INVALID_VALUE);
        forbid_in_captures();
        void* made = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(made != MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
        pinned[uintptr_t(made)] = {bytes, false};
        *host = made;
    });
}
EXPORT CUresult cuMemAllocHost_v2(void** host, size_t bytes) { return cuMemHostAlloc(host, bytes, 0); }

EXPORT CUresult cuMemFreeHost(void* host) {
    return call(Needs::CONTEXT, [&] {
        if (!host) return;
        forbid_in_captures();
        auto found = pinned.find(uintptr_t(host));
        require(found != pinned.end() && !found->second.is_registered, CUDA_ERROR_INVALID_VALUE);
        // As CUDA waits for the work that may use it.
        synchronize(*current());
        munmap(host, found->second.bytes);
        pinned.erase(found);
    });
}

EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* host, unsigned) {
    return call(Needs::CONTEXT, [&] {
        require(is_pinned(host, 1), CUDA_ERROR_INVALID_VALUE);
        *address = reinterpret_cast<CUdeviceptr>(host);
    });
}

EXPORT CUresult cuMemHostRegister_v2(void* host, size_t bytes, unsigned) {
    return call(Needs::CONTEXT, [&] {
        require(host && bytes > 0, CUDA_ERROR_INVALID_VALUE);
        auto next = pinned.lower_bound(uintptr_t(host));
        bool overlaps = pinned_range(uintptr_t(host)) || (next != pinned.end() && next->first < uintptr_t(host) + bytes);
        require(!overlaps, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        pinned[uintptr_t(host)] = {bytes, true};
    });
}

EXPORT CUresult cuMemHostUnregister(void* host) {
    return call(Needs::CONTEXT, [&] {
        auto found = pinned.find(uintptr_t(host));
        require(found != pinned.end() && found->second.is_registered, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        synchronize(*current());
        pinned.erase(found);
    });
}

EXPORT CUresult cuPointerGetAttribute(void* out, CUpointer_attribute of, CUdeviceptr at) {
    return call(Needs::CONTEXT, [&] {
        Allocation* found = allocation_of(at);
        auto* range = pinned_range(at);
        require((found && !found->is_freed) || range, CUDA_ERROR_INVALID_VALUE);
        switch (of) {
            case POINTER_CONTEXT: *static_cast<CUcontext*>(out) = found ? device(found->device).primary : current_handle(); return;
            case POINTER_MEMORY_TYPE: *static_cast<unsigned*>(out) = found ? MEMORY_DEVICE : MEMORY_HOST; return;
            case POINTER_DEVICE_POINTER: *static_cast<CUdeviceptr*>(out) = at; return;
            case POINTER_HOST_POINTER:
                require(!found, CUDA_ERROR_INVALID_VALUE);
                *static_cast<CUdeviceptr*>(out) = at;
                return;
            case POINTER_IS_MANAGED: *static_cast<unsigned*>(out) = 0; return;
            case POINTER_DEVICE_ORDINAL: *static_cast<int*>(out) = found ? found->device : current()->device; return;
            case POINTER_RANGE_START_ADDR: *static_cast<CUdeviceptr*>(out) = found ? found->start : range->first; return;
            case POINTER_RANGE_SIZE: *static_cast<size_t*>(out) = found ? found->bytes : range->second.bytes; return;
            default: throw Failure{CUDA_ERROR_NOT_SUPPORTED};
        }
    });
}
