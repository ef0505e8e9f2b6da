// What every function of the driver does first: takes the one lock, and says why it cannot be called. Inside, failures are thrown.
#pragma once

#include "abi.h"

#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>

namespace emulated {

struct Failure {
    CUresult result;
};
inline void require(bool holds, CUresult otherwise) {
    if (!holds) throw Failure{otherwise};
}

// Of all calls and of the work they start, which so is one thread's at a time. Host functions may not call the driver, but who frees memory in one
// should get an error and not a deadlock.
extern std::recursive_mutex lock;

// What a call asks for before it does anything: a driver that was initialised, and in this process, not in the one it was forked from; a context
// that is current on this thread, on a device that still works.
enum class Needs { DRIVER, CONTEXT };
bool is_forked();
void check(Needs needs);

template <typename Body> CUresult call(Needs needs, const Body& body) noexcept {
    // The lock may have been held when the process was forked.
    if (is_forked()) return CUDA_ERROR_NOT_INITIALIZED;
    std::lock_guard guard(lock);
    try {
        check(needs);
        body();
        return CUDA_SUCCESS;
    } catch (Failure failure) {
        return failure.result;
    } catch (const std::bad_alloc&) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
}

// Those of the driver are never destroyed: while a process ends, other threads may still call it.
//
// Numbers that no object ever has again, and nothing is at: who reads through a handle, or uses one of what was destroyed, finds out.
template <typename Handle, typename Of> class Handles {
    std::unordered_map<Handle, std::shared_ptr<Of>> live;

  public:
    Handle add(std::shared_ptr<Of> object) {
        static uintptr_t last = 0x7e57 << 16;
        Handle handle = reinterpret_cast<Handle>(last += 64);
        live.emplace(handle, std::move(object));
        return handle;
    }
    std::shared_ptr<Of> at(Handle handle) const {
        auto found = live.find(handle);
        require(found != live.end(), CUDA_ERROR_INVALID_HANDLE);
        return found->second;
    }
    std::shared_ptr<Of> take(Handle handle) {
        std::shared_ptr<Of> object = at(handle);
        live.erase(handle);
        return object;
    }
};

}  // namespace emulated
