#include "fault.h"

#include "memory.h"

#include <csignal>
#include <cstdio>

#include <unistd.h>

namespace emulated {

static const char* performed = nullptr;
static struct sigaction before;

static void tell(int, siginfo_t* fault, void*) {
    auto address = reinterpret_cast<CUdeviceptr>(fault->si_addr);
    char text[400], where[200] = "no memory of a device";
    // Nearest below: what is read behind its end is found there.
    const Allocation* below = allocation_before(address);
    if (below && address < below->start + below->bytes) {
        snprintf(where, sizeof where, "byte %llu of an allocation of %zu bytes that was freed", address - below->start, below->bytes);
    } else if (below && address < below->start + below->bytes + (1 << 20)) {
        snprintf(where, sizeof where, "%llu bytes behind an allocation of %zu bytes", address - below->start - below->bytes, below->bytes);
    }
    int length = snprintf(text, sizeof text, "emulated CUDA: %s touches 0x%llx, %s\n", performed ? performed : "the driver", address, where);
    if (write(STDERR_FILENO, text, length) < 0) _exit(1);
    // The instruction faults once more, for whoever else wants to know.
    sigaction(SIGSEGV, &before, nullptr);
}

int Watch::depth = 0;
Watch::Watch() {
    if (depth++ > 0) return;
    struct sigaction action = {};
    action.sa_sigaction = tell;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before);
}
Watch::~Watch() {
    if (--depth == 0) sigaction(SIGSEGV, &before, nullptr);
}

void perform(const Operation& operation) {
    const char* outer = performed;
    performed = operation.what;
    operation.run();
    performed = outer;
}

}  // namespace emulated
