#include "work.h"

#include "counters.h"
#include "memory.h"
#include "stream.h"

using namespace emulated;

EXPORT CUresult emulated_cuda_enqueue(CUstream handle, void (*run)(const void*), const void* data, size_t bytes) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = stream_at(handle);
        require(stream->context == current(), CUDA_ERROR_INVALID_HANDLE);
        auto* from = static_cast<const unsigned char*>(data);
        enqueue(stream, {NODE_KERNEL, [run, kept = std::vector<unsigned char>(from, from + bytes)] {
                             counters.products++;
                             run(kept.data());
                         }, "a product"});
    });
}

EXPORT bool emulated_cuda_has(const void* address, size_t bytes) {
    return call(Needs::CONTEXT, [&] { require_device(reinterpret_cast<CUdeviceptr>(address), bytes); }) == CUDA_SUCCESS;
}

EXPORT int emulated_cuda_capability() {
    return call(Needs::CONTEXT, [] {}) == CUDA_SUCCESS ? settings().major * 10 + settings().minor : 0;
}
