#include "device.h"

#include "stream.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

namespace emulated {

std::recursive_mutex lock;

static uint64_t number(const char* name, uint64_t otherwise) {
    const char* text = getenv(name);
    return text && *text ? strtoull(text, nullptr, 0) : otherwise;
}

const Settings& settings() {
    static const Settings read = [] {
        Settings s{};
        s.devices = int(number("EMULATED_CUDA_DEVICES", 1));
        s.driver_version = int(number("EMULATED_CUDA_DRIVER_VERSION", 12080));
        s.memory = number("EMULATED_CUDA_MEMORY", size_t(8) << 30);
        const char* capability = getenv("EMULATED_CUDA_CAPABILITY");
        if (!capability || sscanf(capability, "%d.%d", &s.major, &s.minor) != 2) s.major = 9, s.minor = 0;
        const char* order = getenv("EMULATED_CUDA_ORDER");
        s.is_lazy = order && !strcmp(order, "lazy");
        if (order && !s.is_lazy && strcmp(order, "eager")) {
            fprintf(stderr, "emulated CUDA: EMULATED_CUDA_ORDER is eager or lazy, not %s\n", order);
            abort();
        }
        s.is_strict = number("EMULATED_CUDA_STRICT", 0);
        s.lost_after = number("EMULATED_CUDA_LOST_AFTER", UINT64_MAX);
        return s;
    }();
    return read;
}

static pid_t initialised = 0;
static auto& contexts = *new Handles<CUcontext, Context>;
static thread_local std::vector<CUcontext> current_contexts;

bool is_forked() { return initialised && getpid() != initialised; }

void check(Needs needs) {
    require(initialised, CUDA_ERROR_NOT_INITIALIZED);
    if (needs == Needs::CONTEXT) require(device(current()->device).lost == CUDA_SUCCESS, device(current()->device).lost);
}

Device& device(int ordinal) {
    static auto& all = *new std::vector<Device>(settings().devices);
    require(ordinal >= 0 && ordinal < int(all.size()), CUDA_ERROR_INVALID_DEVICE);
    return all[ordinal];
}

CUcontext current_handle() { return current_contexts.empty() ? nullptr : current_contexts.back(); }

std::shared_ptr<Context> context_at(CUcontext handle) {
    try {
        return contexts.at(handle);
    } catch (Failure) {
        throw Failure{CUDA_ERROR_INVALID_CONTEXT};
    }
}

std::shared_ptr<Context> current() { return context_at(current_handle()); }

size_t most_shared_memory() {
    int capability = settings().major * 10 + settings().minor;
    switch (capability) {
        case 70: return 96 << 10;
        case 75: return 64 << 10;
        case 80:
        case 87: return 163 << 10;
        case 90:
        case 100:
        case 103: return 227 << 10;
        default: return capability < 70 ? DEFAULT_SHARED_MEMORY : 99 << 10;
    }
}

static int attribute(CUdevice_attribute of, int ordinal) {
    switch (of) {
        case MAX_THREADS_PER_BLOCK:
        case MAX_BLOCK_DIM_X:
        case MAX_BLOCK_DIM_Y: return 1024;
        case MAX_BLOCK_DIM_Z: return 64;
        case MAX_GRID_DIM_X: return 0x7fffffff;
        case MAX_GRID_DIM_Y:
        case MAX_GRID_DIM_Z: return 65535;
        case MAX_SHARED_MEMORY_PER_BLOCK: return DEFAULT_SHARED_MEMORY;
        case TOTAL_CONSTANT_MEMORY: return 64 << 10;
        case WARP_SIZE: return 32;
        case MAX_REGISTERS_PER_BLOCK:
        case MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
        case CLOCK_RATE: return 1755000;
        case MULTIPROCESSOR_COUNT: return 16;
        case CAN_MAP_HOST_MEMORY:
        case CONCURRENT_KERNELS:
        case UNIFIED_ADDRESSING:
        case STREAM_PRIORITIES_SUPPORTED:
        case HOST_REGISTER_SUPPORTED:
        case MEMORY_POOLS_SUPPORTED: return 1;
        case PCI_BUS_ID: return ordinal + 1;
        case MEMORY_CLOCK_RATE: return 2619000;
        case GLOBAL_MEMORY_BUS_WIDTH: return 5120;
        case L2_CACHE_SIZE: return 50 << 20;
        case MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
        case ASYNC_ENGINE_COUNT: return 3;
        case COMPUTE_CAPABILITY_MAJOR: return settings().major;
        case COMPUTE_CAPABILITY_MINOR: return settings().minor;
        case MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return int(most_shared_memory()) + 1024;
        case MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return int(most_shared_memory());
        case MAX_BLOCKS_PER_MULTIPROCESSOR: return 32;
        case RESERVED_SHARED_MEMORY_PER_BLOCK: return 1024;
        default: return 0;
    }
}

}  // namespace emulated

using namespace emulated;

EXPORT CUresult cuInit(unsigned flags) {
    if (is_forked()) return CUDA_ERROR_NOT_INITIALIZED;
    std::lock_guard guard(lock);
    if (flags) return CUDA_ERROR_INVALID_VALUE;
    if (settings().devices == 0) return CUDA_ERROR_NO_DEVICE;
    initialised = getpid();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDriverGetVersion(int* version) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    *version = settings().driver_version;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuDeviceGetCount(int* count) {
    return call(Needs::DRIVER, [&] { *count = settings().devices; });
}

EXPORT CUresult cuDeviceGet(CUdevice* out, int ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        *out = ordinal;
    });
}

EXPORT CUresult cuDeviceGetName(char* name, int length, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        require(name && length > 0, CUDA_ERROR_INVALID_VALUE);
        snprintf(name, length, "Emulated CUDA device");
    });
}

EXPORT CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute of, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        require(value && of > 0 && of < DEVICE_ATTRIBUTE_MAX, CUDA_ERROR_INVALID_VALUE);
        *value = attribute(of, ordinal);
    });
}

EXPORT CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        *bytes = settings().memory;
    });
}

EXPORT CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        *uuid = {"emulated device"};
        uuid->bytes[15] = (unsigned char)ordinal;
    });
}
EXPORT CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice ordinal) { return cuDeviceGetUuid_v2(uuid, ordinal); }

EXPORT CUresult cuDeviceGetPCIBusId(char* id, int length, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        device(ordinal);
        require(id && length > 0, CUDA_ERROR_INVALID_VALUE);
        snprintf(id, length, "0000:%02X:00.0", ordinal + 1);
    });
}

EXPORT CUresult cuDeviceCanAccessPeer(int* can, CUdevice ordinal, CUdevice peer) {
    return call(Needs::DRIVER, [&] {
        device(ordinal), device(peer);
        *can = ordinal != peer;
    });
}

EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        Device& of = device(ordinal);
        require(of.lost == CUDA_SUCCESS, of.lost);
        if (of.retained++ == 0) {
            auto made = std::make_shared<Context>();
            made->device = ordinal;
            made->flags = of.flags;
            made->null_stream = std::make_shared<Stream>(made, true, 0);
            made->streams.push_back(made->null_stream);
            of.primary = contexts.add(made);
        }
        *context = of.primary;
    });
}

EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice ordinal) {
    return call(Needs::DRIVER, [&] {
        Device& of = device(ordinal);
        require(of.retained > 0, CUDA_ERROR_INVALID_CONTEXT);
        if (--of.retained > 0) return;
        std::shared_ptr<Context> released = contexts.take(of.primary);
        of.primary = nullptr;
        if (of.lost == CUDA_SUCCESS) synchronize(*released);
        // Streams know their context, which so would never go.
        released->streams.clear();
        released->null_stream = nullptr;
    });
}

EXPORT CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice ordinal, unsigned flags) {
    return call(Needs::DRIVER, [&] { device(ordinal).flags = flags; });
}

EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned* flags, int* is_active) {
    return call(Needs::DRIVER, [&] {
        *flags = device(ordinal).flags;
        *is_active = device(ordinal).retained > 0;
    });
}

EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    return call(Needs::DRIVER, [&] {
        if (context) context_at(context);
        if (!current_contexts.empty()) current_contexts.pop_back();
        if (context) current_contexts.push_back(context);
    });
}

EXPORT CUresult cuCtxGetCurrent(CUcontext* context) {
    return call(Needs::DRIVER, [&] { *context = current_handle(); });
}

EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context) {
    return call(Needs::DRIVER, [&] {
        context_at(context);
        current_contexts.push_back(context);
    });
}

EXPORT CUresult cuCtxPopCurrent_v2(CUcontext* context) {
    return call(Needs::DRIVER, [&] {
        require(!current_contexts.empty(), CUDA_ERROR_INVALID_CONTEXT);
        if (context) *context = current_contexts.back();
        current_contexts.pop_back();
    });
}

EXPORT CUresult cuCtxGetDevice(CUdevice* out) {
    return call(Needs::DRIVER, [&] { *out = current()->device; });
}

EXPORT CUresult cuCtxSetFlags(unsigned flags) {
    return call(Needs::CONTEXT, [&] { current()->flags = flags; });
}

EXPORT CUresult cuCtxGetFlags(unsigned* flags) {
    return call(Needs::CONTEXT, [&] { *flags = current()->flags; });
}

EXPORT CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    return call(Needs::CONTEXT, [&] {
        if (least) *least = 0;
        if (greatest) *greatest = -5;
    });
}

EXPORT CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
    return call(Needs::CONTEXT, [&] {
        require(flags == 0, CUDA_ERROR_INVALID_VALUE);
        int other = context_at(peer)->device;
        std::vector<int>& peers = current()->peers;
        require(other != current()->device, CUDA_ERROR_INVALID_DEVICE);
        require(std::find(peers.begin(), peers.end(), other) == peers.end(), CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
        peers.push_back(other);
    });
}
