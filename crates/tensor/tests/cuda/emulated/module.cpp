// Modules, which are shared libraries that the emulated NVRTC made, and launches of their kernels.
#include "kernel.h"
#include "counters.h"
#include "device.h"
#include "image.h"
#include "memory.h"
#include "stream.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <dlfcn.h>

namespace emulated {

struct Module {
    const std::shared_ptr<Context> context;
    void* const library;
    int architecture() const { return *static_cast<const int*>(dlsym(library, "emulated_architecture")); }
    Module(std::shared_ptr<Context> context, void* library) : context(std::move(context)), library(library) {}
    Module(const Module&) = delete;
    ~Module() { dlclose(library); }
};

struct Function {
    std::shared_ptr<Module> module;
    std::string name;
    const emulator::Kernel* kernel;
    size_t most_shared = DEFAULT_SHARED_MEMORY;
    // Runs, of which every second goes through threads and blocks from the last to the first.
    unsigned runs = 0;
};

static auto& modules = *new Handles<CUmodule, Module>;
static auto& functions = *new Handles<CUfunction, Function>;
// One handle for each function of a module, as long as there is the module.
static auto& handles = *new std::unordered_map<CUmodule, std::unordered_map<std::string, CUfunction>>;

static CUresult load(CUmodule* handle, const void* image) {
    return call(Needs::CONTEXT, [&] {
        require(image, CUDA_ERROR_INVALID_VALUE);
        forbid_in_captures();
        auto made = std::make_shared<Module>(current(), open_image(image, settings().major * 10 + settings().minor));
        *handle = modules.add(made);
        counters.modules++;
    });
}

struct Geometry {
    unsigned grid[3], block[3], shared;
    size_t threads() const { return size_t(1) * grid[0] * grid[1] * grid[2] * block[0] * block[1] * block[2]; }
};

// Whether a launch may begin before what is in front of it is done. What else there is to say of one is not known here.
static bool is_early(const CUlaunchConfig& of) {
    bool is_early = false;
    for (unsigned i = 0; i < of.attribute_count; i++) {
        const CUlaunchAttribute& one = of.attributes[i];
        if (one.id == LAUNCH_IGNORE) continue;
        require(one.id == LAUNCH_PROGRAMMATIC_STREAM_SERIALIZATION && settings().major >= 9, CUDA_ERROR_NOT_SUPPORTED);
        is_early = one.value.is_allowed;
    }
    return is_early;
}

static void require_launchable(const Function& function, const Geometry& at) {
    const unsigned MOST_BLOCKS[] = {0x7fffffff, 65535, 65535}, MOST_THREADS[] = {1024, 1024, 64};
    size_t threads = 1;
    for (int i = 0; i < 3; i++) {
        require(at.grid[i] >= 1 && at.grid[i] <= MOST_BLOCKS[i], CUDA_ERROR_INVALID_VALUE);
        require(at.block[i] >= 1 && at.block[i] <= MOST_THREADS[i], CUDA_ERROR_INVALID_VALUE);
        threads *= at.block[i];
    }
    require(threads <= 1024, CUDA_ERROR_INVALID_VALUE);
    require(threads <= function.kernel->threads, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    require(at.shared <= function.most_shared, CUDA_ERROR_INVALID_VALUE);
}

// Where each argument is kept, on a boundary that suits all types; at last, where all end.
static std::vector<size_t> offsets(const emulator::Kernel& kernel) {
    constexpr size_t APART = 16;
    std::vector<size_t> starts = {0};
    for (size_t i = 0; i < kernel.count; i++) starts.push_back(starts.back() + (kernel.sizes[i] + APART - 1) / APART * APART);
    return starts;
}

static CUresult launch(CUfunction handle, const CUlaunchConfig& of, void** arguments, void** extra) {
    return call(Needs::CONTEXT, [&] {
        Geometry at;
        memcpy(&at, of.grid, sizeof at);
        bool early = is_early(of);
        std::shared_ptr<Function> function = functions.at(handle);
        std::shared_ptr<Stream> stream = stream_at(of.stream);
        std::shared_ptr<Context> context = current();
        require(stream->context == context && function->module->context == context, CUDA_ERROR_INVALID_HANDLE);
        require_launchable(*function, at);
        const emulator::Kernel& kernel = *function->kernel;
        require(!extra && (arguments || kernel.count == 0), CUDA_ERROR_INVALID_VALUE);
        // Graphs know such launches from CUDA 12.3 on.
        if (early && stream->capture && settings().driver_version < 12030) stream->capture->fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        if (++counters.launches > settings().lost_after) {
            device(context->device).lost = CUDA_ERROR_ECC_UNCORRECTABLE;
            throw Failure{CUDA_ERROR_ECC_UNCORRECTABLE};
        }
        std::vector<size_t> starts = offsets(kernel);
        std::vector<unsigned char> bytes(starts.back());
        for (size_t i = 0; i < kernel.count; i++) memcpy(&bytes[starts[i]], arguments[i], kernel.sizes[i]);
        enqueue(stream, {NODE_KERNEL, [=] {
                             std::vector<const void*> places;
                             for (size_t i = 0; i + 1 < starts.size(); i++) places.push_back(bytes.data() + starts[i]);
                             // Kernels do not write to their arguments.
                             void* const* given = const_cast<void* const*>(places.data());
                             unsigned numbers[] = {at.grid[0], at.grid[1], at.grid[2], at.block[0], at.block[1], at.block[2]};
                             counters.kernels++;
                             counters.early_kernels += early;
                             size_t waited = function->kernel->run(numbers, at.shared, given, function->runs++ % 2);
                             if (!early || waited == at.threads()) return;
                             fprintf(stderr, "emulated CUDA: %s was launched to begin early, and %zu of its %zu threads have waited\n",
                                     function->name.c_str(), waited, at.threads());
                             abort();
                         }, function->name.c_str()});
    });
}

}  // namespace emulated

using namespace emulated;

EXPORT CUresult cuModuleLoadData(CUmodule* handle, const void* image) { return load(handle, image); }
EXPORT CUresult cuModuleLoadDataEx(CUmodule* handle, const void* image, unsigned, int*, void**) { return load(handle, image); }
EXPORT CUresult cuModuleLoadFatBinary(CUmodule* handle, const void* image) { return load(handle, image); }

EXPORT CUresult cuModuleUnload(CUmodule handle) {
    return call(Needs::CONTEXT, [&] {
        modules.take(handle);
        for (auto& [name, function] : handles[handle]) functions.take(function);
        handles.erase(handle);
    });
}

EXPORT CUresult cuModuleGetFunction(CUfunction* function, CUmodule handle, const char* name) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Module> module = modules.at(handle);
        auto& known = handles[handle][name];
        if (!known) {
            auto* kernel = static_cast<const emulator::Kernel*>(dlsym(module->library, ("launch_" + std::string(name)).c_str()));
            if (!kernel) handles[handle].erase(name);
            require(kernel, CUDA_ERROR_NOT_FOUND);
            known = functions.add(std::make_shared<Function>(Function{module, name, kernel}));
        }
        *function = known;
    });
}

// Kernels have no variables of their own that the host sees.
EXPORT CUresult cuModuleGetGlobal_v2(CUdeviceptr*, size_t*, CUmodule handle, const char*) {
    return call(Needs::CONTEXT, [&] {
        modules.at(handle);
        throw Failure{CUDA_ERROR_NOT_FOUND};
    });
}

EXPORT CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute of, int value) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Function> function = functions.at(handle);
        if (of == FUNCTION_PREFERRED_SHARED_MEMORY_CARVEOUT) return;
        require(of == FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES && value >= 0 && size_t(value) <= most_shared_memory(), CUDA_ERROR_INVALID_VALUE);
        function->most_shared = value;
    });
}

EXPORT CUresult cuFuncGetAttribute(int* value, CUfunction_attribute of, CUfunction handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Function> function = functions.at(handle);
        switch (of) {
            case FUNCTION_MAX_THREADS_PER_BLOCK: *value = int(function->kernel->threads); return;
            case FUNCTION_NUM_REGS: *value = 32; return;
            case FUNCTION_PTX_VERSION: *value = function->module->architecture(); return;
            case FUNCTION_BINARY_VERSION: *value = settings().major * 10 + settings().minor; return;
            case FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = int(function->most_shared); return;
            case FUNCTION_PREFERRED_SHARED_MEMORY_CARVEOUT: *value = -1; return;
            case FUNCTION_SHARED_SIZE_BYTES:
            case FUNCTION_CONST_SIZE_BYTES:
            case FUNCTION_LOCAL_SIZE_BYTES:
            case FUNCTION_CACHE_MODE_CA: *value = 0; return;
        }
        throw Failure{CUDA_ERROR_INVALID_VALUE};
    });
}

EXPORT CUresult cuFuncGetParamInfo(CUfunction handle, size_t index, size_t* offset, size_t* size) {
    return call(Needs::CONTEXT, [&] {
        const emulator::Kernel& kernel = *functions.at(handle)->kernel;
        require(index < kernel.count && offset, CUDA_ERROR_INVALID_VALUE);
        *offset = offsets(kernel)[index];
        if (size) *size = kernel.sizes[index];
    });
}

EXPORT CUresult cuFuncSetCacheConfig(CUfunction handle, int) {
    return call(Needs::CONTEXT, [&] { functions.at(handle); });
}

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction handle, int threads, size_t shared, unsigned) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Function> function = functions.at(handle);
        require(threads > 0, CUDA_ERROR_INVALID_VALUE);
        bool fits = size_t(threads) <= function->kernel->threads && shared <= function->most_shared;
        size_t by_memory = (most_shared_memory() + 1024) / (shared + 1024);
        *blocks = fits ? int(std::min({size_t(32), size_t(2048) / threads, by_memory})) : 0;
    });
}
EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction function, int threads, size_t shared) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, shared, 0);
}

EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned across, unsigned down, unsigned deep,
                               unsigned shared, CUstream stream, void** arguments, void** extra) {
    return launch(function, {{x, y, z}, {across, down, deep}, shared, stream, nullptr, 0}, arguments, extra);
}

EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig* of, CUfunction function, void** arguments, void** extra) {
    return of ? launch(function, *of, arguments, extra) : CUDA_ERROR_INVALID_VALUE;
}
