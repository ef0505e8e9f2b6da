#include "capture.h"

#include "counters.h"
#include "fault.h"
#include "memory.h"
#include "stream.h"

#include <algorithm>

namespace emulated {

static auto& captures = *new std::vector<std::shared_ptr<Capture>>;
static thread_local CUstreamCaptureMode thread_mode = CAPTURE_GLOBAL;

void Capture::record(const std::shared_ptr<Stream>& stream, Operation operation) {
    require(!is_invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    nodes.push_back(std::move(operation));
    recorded[stream.get()]++;
}

void forbid_in_captures() {
    if (thread_mode == CAPTURE_RELAXED) return;
    bool is_forbidden = false;
    for (auto& capture : captures) {
        bool is_own = capture->thread == std::this_thread::get_id() && capture->mode != CAPTURE_RELAXED;
        bool is_of_all = thread_mode == CAPTURE_GLOBAL && capture->mode == CAPTURE_GLOBAL;
        if (!is_own && !is_of_all) continue;
        capture->is_invalid = true;
        is_forbidden = true;
    }
    require(!is_forbidden, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

void forbid_beside_captures(const Stream& stream) {
    if (&stream != stream.context->null_stream.get()) return;
    for (auto& capture : captures) {
        for (auto& other : capture->streams) {
            if (other->is_blocking && other->context == stream.context) capture->fail(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        }
    }
}

struct Exec {
    std::shared_ptr<const std::vector<Operation>> nodes;
    uint64_t flags;
};
static auto& graphs = *new Handles<CUgraph, Graph>;
static auto& execs = *new Handles<CUgraphExec, Exec>;

static CUstreamCaptureStatus status(const Stream& stream) {
    return !stream.capture ? CAPTURE_NONE : stream.capture->is_invalid ? CAPTURE_INVALIDATED : CAPTURE_ACTIVE;
}

}  // namespace emulated

using namespace emulated;

EXPORT CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    return call(Needs::CONTEXT, [&] {
        static uint64_t last = 0;
        std::shared_ptr<Stream> stream = stream_at(handle);
        require(stream != stream->context->null_stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        require(!stream->capture, CUDA_ERROR_ILLEGAL_STATE);
        require(mode >= CAPTURE_GLOBAL && mode <= CAPTURE_RELAXED, CUDA_ERROR_INVALID_VALUE);
        auto begun = std::make_shared<Capture>();
        begun->mode = mode;
        begun->thread = std::this_thread::get_id();
        begun->id = ++last;
        begun->origin = stream;
        begun->streams = {stream};
        stream->capture = begun;
        captures.push_back(begun);
    });
}

EXPORT CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    return call(Needs::CONTEXT, [&] {
        *graph = nullptr;
        std::shared_ptr<Stream> stream = stream_at(handle);
        std::shared_ptr<Capture> capture = stream->capture;
        require(capture != nullptr, CUDA_ERROR_ILLEGAL_STATE);
        require(capture->mode == CAPTURE_RELAXED || capture->thread == std::this_thread::get_id(), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
        if (capture->origin != stream) capture->fail(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
        for (auto& other : capture->streams) other->capture = nullptr;
        captures.erase(std::find(captures.begin(), captures.end(), capture));
        require(!capture->is_invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        Clock& known = capture->known[stream.get()];
        for (auto [other, recorded] : capture->recorded) {
            require(other == stream.get() || known[other] == recorded, CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        }
        *graph = graphs.add(std::make_shared<Graph>(Graph{std::move(capture->nodes)}));
    });
}

EXPORT CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* out) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = stream_at(handle);
        forbid_beside_captures(*stream);
        *out = status(*stream);
    });
}

// Dependencies are not told, as they are not kept.
EXPORT CUresult cuStreamGetCaptureInfo_v2(CUstream handle, CUstreamCaptureStatus* out, uint64_t* id, CUgraph* graph, const CUgraphNode** nodes,
                                          size_t* count) {
    return call(Needs::CONTEXT, [&] {
        require(!graph && !nodes && !count, CUDA_ERROR_NOT_SUPPORTED);
        std::shared_ptr<Stream> stream = stream_at(handle);
        forbid_beside_captures(*stream);
        *out = status(*stream);
        if (id && stream->capture) *id = stream->capture->id;
    });
}
EXPORT CUresult cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus* out, uint64_t* id, CUgraph* graph, const CUgraphNode** nodes,
                                          const void** edges, size_t* count) {
    return edges ? CUDA_ERROR_NOT_SUPPORTED : cuStreamGetCaptureInfo_v2(handle, out, id, graph, nodes, count);
}

EXPORT CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
    return call(Needs::DRIVER, [&] {
        require(mode && *mode >= CAPTURE_GLOBAL && *mode <= CAPTURE_RELAXED, CUDA_ERROR_INVALID_VALUE);
        std::swap(*mode, thread_mode);
    });
}

EXPORT CUresult cuGraphDestroy(CUgraph handle) {
    return call(Needs::DRIVER, [&] { graphs.take(handle); });
}

// Node handles are their places in the graph, counted from 1.
EXPORT CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode* nodes, size_t* count) {
    return call(Needs::DRIVER, [&] {
        size_t all = graphs.at(handle)->nodes.size();
        for (size_t i = 0; nodes && i < *count; i++) nodes[i] = i < all ? reinterpret_cast<CUgraphNode>(i + 1) : nullptr;
        *count = nodes ? std::min(*count, all) : all;
    });
}

EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph handle, unsigned long long flags) {
    return call(Needs::CONTEXT, [&] {
        require(exec && flags < 16, CUDA_ERROR_INVALID_VALUE);
        forbid_in_captures();
        counters.instantiations++;
        *exec = execs.add(std::make_shared<Exec>(Exec{std::make_shared<const std::vector<Operation>>(graphs.at(handle)->nodes), flags}));
    });
}

EXPORT CUresult cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph handle, CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
    parameters->error_node = nullptr;
    CUresult result = cuGraphInstantiateWithFlags(exec, handle, parameters->flags);
    parameters->result = result != CUDA_SUCCESS;
    return result;
}

EXPORT CUresult cuGraphUpload(CUgraphExec exec, CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        execs.at(exec);
        stream_at(handle);
    });
}

EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream handle) {
    return call(Needs::CONTEXT, [&] {
        std::shared_ptr<Stream> stream = stream_at(handle);
        std::shared_ptr<Exec> launched = execs.at(exec);
        auto nodes = launched->nodes;
        if (stream->capture) stream->capture->fail(CUDA_ERROR_NOT_SUPPORTED);
        // What the last launch allocated, and nobody has freed, is in the way of the next.
        for (auto& node : *nodes) {
            bool is_in_the_way = node.kind == NODE_MEM_ALLOC && node.memory->is_left && !(launched->flags & GRAPH_AUTO_FREE_ON_LAUNCH);
            require(!is_in_the_way, CUDA_ERROR_INVALID_VALUE);
        }
        for (auto& node : *nodes) {
            if (node.memory) node.memory->is_left = node.kind == NODE_MEM_ALLOC;
        }
        counters.graph_launches++;
        enqueue(stream, {NODE_EMPTY, [nodes] {
                             for (auto& node : *nodes) perform(node);
                         }, "a graph"});
    });
}

EXPORT CUresult cuGraphExecDestroy(CUgraphExec handle) {
    return call(Needs::DRIVER, [&] { execs.take(handle); });
}

EXPORT CUresult cuGraphExecUpdate_v2(CUgraphExec handle, CUgraph from, CUgraphExecUpdateResultInfo* info) {
    return call(Needs::CONTEXT, [&] {
        enum { SUCCESS, ERROR, TOPOLOGY_CHANGED, NODE_TYPE_CHANGED, FUNCTION_CHANGED, PARAMETERS_CHANGED, NOT_SUPPORTED };
        std::shared_ptr<Exec> exec = execs.at(handle);
        const std::vector<Operation>&old = *exec->nodes, &wanted = graphs.at(from)->nodes;
        *info = {SUCCESS, nullptr, nullptr};
        if (old.size() != wanted.size()) info->result = TOPOLOGY_CHANGED;
        for (size_t i = 0; info->result == SUCCESS && i < old.size(); i++) {
            // Memory that a graph owns has its addresses in the graph.
            if (old[i].kind != wanted[i].kind) info->result = NODE_TYPE_CHANGED;
            else if (old[i].kind == NODE_MEM_ALLOC) info->result = NOT_SUPPORTED;
            if (info->result != SUCCESS) info->error_node = reinterpret_cast<CUgraphNode>(i + 1);
        }
        require(info->result == SUCCESS, CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
        exec->nodes = std::make_shared<const std::vector<Operation>>(wanted);
    });
}
