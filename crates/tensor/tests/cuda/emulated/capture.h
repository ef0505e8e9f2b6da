// What streams record instead of doing it, and the graphs that come of it.
#pragma once

#include "call.h"

#include <functional>
#include <map>
#include <thread>
#include <vector>

namespace emulated {

class Allocation;
struct Stream;

struct Operation {
    CUgraphNodeType kind;
    std::function<void()> run;
    // For messages.
    const char* what;
    // What a graph opens or closes here.
    std::shared_ptr<Allocation> memory = nullptr;
};

// How much of each stream has been recorded that someone knows to be done before.
using Clock = std::map<const Stream*, uint64_t>;

struct Capture {
    CUstreamCaptureMode mode;
    std::thread::id thread;
    uint64_t id;
    std::shared_ptr<Stream> origin;
    // All that take part.
    std::vector<std::shared_ptr<Stream>> streams;
    // In the order of the calls, which is one of those that the streams' dependencies allow.
    std::vector<Operation> nodes;
    Clock recorded;
    std::map<const Stream*, Clock> known;
    bool is_invalid = false;

    // Makes it useless, and throws.
    [[noreturn]] void fail(CUresult why) {
        is_invalid = true;
        throw Failure{why};
    }
    void record(const std::shared_ptr<Stream>& stream, Operation operation);
};

// Fails, and spoils the capture, where one goes on during which calls like this one are forbidden: those that may wait or allocate.
void forbid_in_captures();
// Likewise for the null stream, which would wait for what is only recorded.
void forbid_beside_captures(const Stream& stream);

struct Graph {
    std::vector<Operation> nodes;
};

}  // namespace emulated
