// Streams, in which work is done in order, and events, by which one waits for another.
#pragma once

#include "capture.h"
#include "device.h"

#include <deque>

namespace emulated {

struct Stream {
    const std::shared_ptr<Context> context;
    // Not by waiting for its work: in order with the null stream.
    const bool is_blocking;
    const int priority;
    std::deque<Operation> queue;
    uint64_t given = 0, done = 0;
    std::shared_ptr<Capture> capture;

    Stream(std::shared_ptr<Context> context, bool is_blocking, int priority)
        : context(std::move(context)), is_blocking(is_blocking), priority(priority) {}
};

std::shared_ptr<Stream> stream_at(CUstream handle);

// What a stream was given until some moment.
struct Mark {
    std::shared_ptr<Stream> stream;
    uint64_t given;
    bool is_reached() const { return stream->done >= given; }
    void reach() const;
};

// Gives work to a stream, which does it now or later, or records it.
void enqueue(const std::shared_ptr<Stream>& stream, Operation operation);
// All that a stream, or those of a context, were given.
void run(Stream& stream);
void synchronize(Context& context);

}  // namespace emulated
