#include "stream.h"

#include "counters.h"
#include "fault.h"
#include "memory.h"

#include <algorithm>
#include <chrono>

namespace emulated {

static auto& streams = *new Handles<CUstream, Stream>;

std::shared_ptr<Stream> stream_at(CUstream handle) {
    // 1 names the null stream too.
    if (reinterpret_cast<uintptr_t>(handle) <= 1) return current()->null_stream;
    return streams.at(handle);
}

static void run_until(Stream& stream, uint64_t given) {
    if (stream.done >= given) return;
    Access access;
    Watch watch;
    while (stream.done < given) {
        Operation next = std::move(stream.queue.front());
        stream.queue.pop_front();
        perform(next);
        stream.done++;
    }
}

void Mark::reach() const { run_until(*stream, given); }
void run(Stream& stream) { run_until(stream, stream.given); }

void synchronize(Context& context) {
    for (auto& stream : context.streams) run(*stream);
    // Those that were destroyed are now done.
    context.streams.erase(std::remove_if(context.streams.begin(), context.streams.end(), [](auto& stream) { return stream.use_count() == 1; }),
                          context.streams.end());
}

static void give(const std::shared_ptr<Stream>& stream, Operation operation) {
    stream->queue.push_back(std::move(operation));
    stream->given++;
}

static void give_wait(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Stream>& other) {
    Mark mark{other, other->given};
    if (other != stream && !mark.is_reached()) give(stream, {NODE_WAIT_EVENT, [mark] { mark.reach(); }, "a stream"});
}

void enqueue(const std::shared_ptr<Stream>& stream, Operation operation) {
    if (stream->capture) return stream->capture->record(stream, std::move(operation));
    forbid_beside_captures(*stream);
    Context& context = *stream->context;
    if (stream == context.null_stream) {
        for (auto& other : context.streams) {
            if (other->is_blocking) give_wait(stream, other);
        }
    } else if (stream->is_blocking) give_wait(stream, context.null_stream);
    give(stream, std::move(operation));
    if (!settings().is_lazy) run(*stream);
}

using Time = std::chrono::steady_clock;

struct Event {
    const std::shared_ptr<Context> context;
    const bool has_time;
    // What it waits for; of no stream before it is recorded.
    Mark mark{nullptr, 0};
    std::shared_ptr<Time::time_point> time = nullptr;
    // Where it was recorded during a capture, and what is known there.
    std::weak_ptr<Capture> capture = {};
    bool is_captured = false;
    Clock known = {};

    bool is_reached() const { return !mark.stream || mark.is_reached(); }
    void require_ordinary() const {
        if (!is_captured) return;
        if (auto of = capture.lock()) of->fail(CUDA_ERROR_CAPTURED_EVENT);
        throw Failure{CUDA_ERROR_CAPTURED_EVENT};
    }
};
static auto& events = *new Handles<CUevent, Event>;

}  // namespace emulated

using namespace emulated;

static CUresult create_stream(CUstream* handle, unsigned flags, int priority) {
    return call(Needs::CONTEXT, [&] {
        require(handle && flags <= STREAM_NON_BLOCKING, CUDA_ERROR_INVALID_VALUE);
        std::shared_ptr<Context> context = current();
        auto made = std::make_shared<Stream>(context, flags != STREAM_NON_BLOCKING, std::clamp(priority, -5, 0));
        context->streams.push_back(made);
        *handle = streams.add(made);
    });
}
EXPORT CUresult cuStreamCreate(CUstream* handle, unsigned flags) { return create_stream(handle, flags, 0); }
EXPORT CUresult cuStreamCreateWithPriority(CUstream* handle, unsigned flags, int priority) { return create_stream(handle, flags, priority); }

EXPORT CUresult cuStreamDestroy_v2(CUstream handle) {
    return call(Needs::DRIVER, [&] {
        std::shared_ptr<Stream> stream = streams.take(handle);
        if (stream->capture) stream->capture->is_invalid = true;
    });
}

EXPORT CUresult cuStreamGetPriority(CUstream handle, int* priority) {
    return call(Needs::CONTEXT, [&] { *priority = stream_at(handle)->priority; });
}

EXPORT CUresult cuStreamGetCtx(CUstream handle, CUcontext* context) {
    return call(Needs::CONTEXT, [&] {
        stream_at(handle);
        *context = current_handle();
    });
}

// Waiting for a stream that records waits for nothing that will ever be.
static std::shared_ptr<Stream> waited_for(CUstream handle) {
    std::shared_ptr<Stream> stream = stream_at(handle);
    if (stream->capture) stream->capture->fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    forbid_beside_captures(*stream);
    forbid_in_captures();
    return stream;
}

EXPORT CUresult cuStreamSynchronize(CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = waited_for(handle);
        counters.synchronizations++;
        run(*stream);
        if (stream != stream->context->null_stream) return;
        for (auto& other : stream->context->streams) {
            if (other->is_blocking) run(*other);
        }
    });
}

// Work goes on only while someone waits: so the first who asks hears that it is not done, and the next that it is.
EXPORT CUresult cuStreamQuery(CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = waited_for(handle);
        bool is_done = stream->done == stream->given;
        run(*stream);
        require(is_done, CUDA_ERROR_NOT_READY);
    });
}

EXPORT CUresult cuCtxSynchronize() {
    return call(Needs::CONTEXT, [&] {
        forbid_in_captures();
        counters.synchronizations++;
        synchronize(*current());
    });
}

EXPORT CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
    return call(Needs::CONTEXT, [&] {
        require(function, CUDA_ERROR_INVALID_VALUE);
        enqueue(stream_at(handle), {NODE_HOST, [=] { function(data); }, "a host function"});
    });
}

EXPORT CUresult cuEventCreate(CUevent* handle, unsigned flags) {
    return call(Needs::CONTEXT, [&] {
        require(handle && flags < 8, CUDA_ERROR_INVALID_VALUE);
        *handle = events.add(std::make_shared<Event>(Event{current(), !(flags & EVENT_DISABLE_TIMING)}));
    });
}

EXPORT CUresult cuEventDestroy_v2(CUevent handle) {
    return call(Needs::DRIVER, [&] { events.take(handle); });
}

EXPORT CUresult cuEventRecord(CUevent handle, CUstream in) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Event> event = events.at(handle);
        std::shared_ptr<Stream> stream = stream_at(in);
        require(event->context == stream->context, CUDA_ERROR_INVALID_HANDLE);
        if (stream->capture) {
            Capture& capture = *stream->capture;
            event->capture = stream->capture;
            event->is_captured = true;
            event->known = capture.known[stream.get()];
            event->known[stream.get()] = capture.recorded[stream.get()];
            return;
        }
        event->is_captured = false;
        auto time = event->time = std::make_shared<Time::time_point>();
        enqueue(stream, {NODE_EVENT_RECORD, [time] { *time = Time::now(); }, "an event"});
        event->mark = {stream, stream->given};
    });
}

EXPORT CUresult cuStreamWaitEvent(CUstream in, CUevent handle, unsigned) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Event> event = events.at(handle);
        std::shared_ptr<Stream> stream = stream_at(in);
        if (!event->is_captured) {
            if (!event->mark.stream) return;
            if (stream->capture) stream->capture->fail(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
            Mark mark = event->mark;
            if (mark.stream != stream) enqueue(stream, {NODE_WAIT_EVENT, [mark] { mark.reach(); }, "a stream"});
            return;
        }
        std::shared_ptr<Capture> capture = event->capture.lock();
        // Its capture has ended.
        require(capture != nullptr, CUDA_ERROR_CAPTURED_EVENT);
        if (stream->capture && stream->capture != capture) {
            stream->capture->is_invalid = true;
            capture->fail(CUDA_ERROR_STREAM_CAPTURE_MERGE);
        }
        if (stream == stream->context->null_stream) capture->fail(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        if (!stream->capture) {
            stream->capture = capture;
            capture->streams.push_back(stream);
        }
        for (auto [other, recorded] : event->known) {
            uint64_t& known = capture->known[stream.get()][other];
            known = std::max(known, recorded);
        }
    });
}

EXPORT CUresult cuEventQuery(CUevent handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Event> event = events.at(handle);
        event->require_ordinary();
        forbid_in_captures();
        if (event->is_reached()) return;
        event->mark.reach();
        throw Failure{CUDA_ERROR_NOT_READY};
    });
}

EXPORT CUresult cuEventSynchronize(CUevent handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Event> event = events.at(handle);
        event->require_ordinary();
        forbid_in_captures();
        counters.synchronizations++;
        if (event->mark.stream) event->mark.reach();
    });
}

EXPORT CUresult cuEventElapsedTime(float* milliseconds, CUevent from, CUevent to) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Event> first = events.at(from), last = events.at(to);
        require(first->has_time && last->has_time && first->time && last->time, CUDA_ERROR_INVALID_HANDLE);
        require(first->is_reached() && last->is_reached(), CUDA_ERROR_NOT_READY);
        *milliseconds = std::chrono::duration<float, std::milli>(*last->time - *first->time).count();
    });
}
EXPORT CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent from, CUevent to) { return cuEventElapsedTime(milliseconds, from, to); }
