#include "tests/simulated_gpu/streams.h"

#include <algorithm>
#include <utility>

#include "tests/simulated_gpu/device.h"
#include "tests/simulated_gpu/memory.h"

namespace mlkd::simulated {
namespace {

struct State {
    std::recursive_mutex lock;
    CUstream_st default_stream;
    std::set<CUstream_st*> streams{&default_stream};
    std::set<CUevent_st*> events;
    int running = 0;  // nested runs: memory is closed again after the outermost
};

State& state() {
    static State* const instance = new State;  // outlives every user
    return *instance;
}

thread_local cudaError_t last_error = cudaSuccess;

// While it lives, work runs.
class Running {
public:
    Running() { ++state().running; }
    ~Running() {
        if (--state().running == 0) close_all();
    }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
};

void finish_event(const Event& event, std::uint64_t occasion);

void run_first(CUstream_st& stream) {
    const Item item = std::move(stream.items.front());
    stream.items.pop_front();
    if (item.work != nullptr) return run_work(*item.work);
    if (!item.records) return finish_event(*item.event, item.occasion);
    item.event->completed = item.occasion;
    item.event->time = std::chrono::steady_clock::now();
}

void finish_event(const Event& event, std::uint64_t occasion) {
    while (event.completed < occasion) run_first(*event.stream);
}

// The capture that this thread has under way and that forbids unsafe calls; nullptr where there is none.
Capture* own_capture() {
    for (CUstream_st* const stream : state().streams)
        if (stream->capture != nullptr && stream->capture->origin == stream && stream->capture->mode != cudaStreamCaptureModeRelaxed &&
            (stream->capture->thread == std::this_thread::get_id() || stream->capture->mode == cudaStreamCaptureModeGlobal))
            return stream->capture.get();
    return nullptr;
}

cudaError_t ended(Capture& capture, cudaError_t status) {
    capture.invalidated = true;
    return returned(status);
}

CUevent_st* event_of(cudaEvent_t handle) { return state().events.count(handle) != 0 ? handle : nullptr; }

// Why the host may not wait for an event or ask about it now; cudaSuccess otherwise.
cudaError_t refused_question(cudaEvent_t handle) {
    if (event_of(handle) == nullptr) return returned(cudaErrorInvalidResourceHandle);
    if (const auto& capture = handle->event->capture; capture != nullptr) return ended(*capture, cudaErrorCapturedEvent);
    return refused_in_capture();
}

// Why work may not go to this stream; cudaSuccess otherwise.
cudaError_t obstacle(CUstream_st& stream, const std::string& what) {
    if (stream.capture != nullptr) return stream.capture->invalidated ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    Capture* const capture = own_capture();
    if (capture == nullptr) return cudaSuccess;
    if (&stream == &state().default_stream && capture->origin->blocking) {
        capture->invalidated = true;
        return cudaErrorStreamCaptureImplicit;
    }
    // A GPU would run it at once, outside the graph, and say nothing.
    fault(plain_name(what) + " goes to a stream that was not forked into the capture under way");
}

void add_node(CUstream_st& stream, std::shared_ptr<const Work> work) {
    std::vector<Node>& nodes = stream.capture->nodes;
    nodes.push_back({std::move(work), stream.last_nodes});
    stream.last_nodes = {nodes.size() - 1};
}

}  // namespace

std::recursive_mutex& runtime_lock() { return state().lock; }

cudaError_t returned(cudaError_t status) {
    if (status != cudaSuccess) last_error = status;
    return status;
}

CUstream_st* stream_of(cudaStream_t handle) {
    if (handle == nullptr || handle == cudaStreamLegacy) return &state().default_stream;
    return state().streams.count(handle) != 0 ? handle : nullptr;
}

cudaError_t refused_in_capture() {
    Capture* const capture = own_capture();
    return capture == nullptr ? cudaSuccess : ended(*capture, cudaErrorStreamCaptureUnsupported);
}

cudaError_t enqueue_as(cudaGraphNodeType type, cudaStream_t handle, std::string what, std::vector<const void*> uses,
                       std::function<void()> work) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(handle);
    if (stream == nullptr) return returned(cudaErrorInvalidResourceHandle);
    if (const cudaError_t status = obstacle(*stream, what); status != cudaSuccess) return returned(status);
    for (const void* const use : uses)
        if (use != nullptr && !is_device_memory(use, 0))
            fault(plain_name(what) + " is given memory that is not, or no longer, the device's");
    auto piece = std::make_shared<const Work>(Work{std::move(what), std::move(uses), std::move(work), type});
    if (stream->capture != nullptr)
        add_node(*stream, std::move(piece));
    else
        stream->items.push_back({.work = std::move(piece), .event = nullptr});
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, std::string what, std::vector<const void*> uses, std::function<void()> work) {
    return enqueue_as(cudaGraphNodeTypeKernel, stream, std::move(what), std::move(uses), std::move(work));
}

void run_work(const Work& work) {
    const Running running;
    open_for_work(work.uses, work.what);
    set_running(work.what);
    work.run();
    set_running("");
}

void finish(CUstream_st& stream) {
    const Running running;
    while (!stream.items.empty()) run_first(stream);
}

void finish_all() {
    const Running running;
    for (CUstream_st* const stream : state().streams) finish(*stream);
}

}  // namespace mlkd::simulated

using namespace mlkd::simulated;

// --- streams

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    const std::lock_guard guard(runtime_lock());
    *stream = new CUstream_st{};
    (*stream)->blocking = flags != cudaStreamNonBlocking;
    state().streams.insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(handle);
    if (stream == nullptr || stream == &state().default_stream) return returned(cudaErrorInvalidResourceHandle);
    if (stream->capture != nullptr) stream->capture->invalidated = true;
    finish(*stream);
    state().streams.erase(stream);
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(handle);
    if (stream == nullptr) return returned(cudaErrorInvalidResourceHandle);
    if (stream->capture != nullptr) return ended(*stream->capture, cudaErrorStreamCaptureUnsupported);
    if (const cudaError_t status = refused_in_capture(); status != cudaSuccess) return status;
    finish(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(handle);
    if (stream == nullptr) return returned(cudaErrorInvalidResourceHandle);
    if (stream->capture != nullptr) return ended(*stream->capture, cudaErrorStreamCaptureUnsupported);
    const Running running;
    if (stream->items.empty()) return cudaSuccess;
    run_first(*stream);  // or a loop that asks would never end
    return returned(cudaErrorNotReady);
}

cudaError_t cudaDeviceSynchronize() {
    const std::lock_guard guard(runtime_lock());
    if (const cudaError_t status = refused_in_capture(); status != cudaSuccess) return status;
    finish_all();
    return cudaSuccess;
}

// --- events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    const std::lock_guard guard(runtime_lock());
    *event = new CUevent_st{};
    (*event)->timed = (flags & cudaEventDisableTiming) == 0;
    state().events.insert(*event);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
    const std::lock_guard guard(runtime_lock());
    if (event_of(handle) == nullptr) return returned(cudaErrorInvalidResourceHandle);
    state().events.erase(handle);
    delete handle;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t where) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(where);
    if (stream == nullptr || event_of(handle) == nullptr) return returned(cudaErrorInvalidResourceHandle);
    if (const cudaError_t status = obstacle(*stream, "an event"); status != cudaSuccess) return returned(status);
    Event& event = *handle->event;
    event.capture = stream->capture;
    event.nodes = stream->last_nodes;
    if (stream->capture != nullptr) return cudaSuccess;
    if (event.stream != stream) finish_event(event, event.recorded);  // of the stream before: one place suffices to look for it
    event.stream = stream;
    stream->items.push_back({.work = nullptr, .event = handle->event, .occasion = ++event.recorded, .records = true});
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t where, cudaEvent_t handle, unsigned) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(where);
    if (stream == nullptr || event_of(handle) == nullptr) return returned(cudaErrorInvalidResourceHandle);
    const Event& event = *handle->event;
    if (event.capture != nullptr) {  // a fork, or a join
        if (stream->capture != nullptr && stream->capture != event.capture) return ended(*stream->capture, cudaErrorStreamCaptureMerge);
        if (event.capture->origin->capture != event.capture) return returned(cudaErrorCapturedEvent);  // that capture is over
        if (stream->capture == nullptr) stream->last_nodes.clear();                                    // of a capture before
        stream->capture = event.capture;
        event.capture->streams.insert(stream);
        stream->last_nodes.insert(stream->last_nodes.end(), event.nodes.begin(), event.nodes.end());
        return cudaSuccess;
    }
    if (stream->capture != nullptr) return ended(*stream->capture, cudaErrorStreamCaptureIsolation);
    stream->items.push_back({.work = nullptr, .event = handle->event, .occasion = event.recorded, .records = false});
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    const std::lock_guard guard(runtime_lock());
    if (const cudaError_t status = refused_question(handle); status != cudaSuccess) return status;
    const Event& event = *handle->event;
    const Running running;
    finish_event(event, event.recorded);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    const std::lock_guard guard(runtime_lock());
    if (const cudaError_t status = refused_question(handle); status != cudaSuccess) return status;
    const Event& event = *handle->event;
    const Running running;
    if (event.completed == event.recorded) return cudaSuccess;
    run_first(*event.stream);
    return returned(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
    const std::lock_guard guard(runtime_lock());
    for (const cudaEvent_t handle : {start, stop}) {
        if (event_of(handle) == nullptr || !handle->timed || handle->event->recorded == 0) return returned(cudaErrorInvalidResourceHandle);
        if (handle->event->completed < handle->event->recorded) return returned(cudaErrorNotReady);
    }
    constexpr float resolution = 0.5e-3f;
    *milliseconds = std::max(resolution, std::chrono::duration<float, std::milli>(stop->event->time - start->event->time).count());
    return cudaSuccess;
}

// --- captures

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    const std::lock_guard guard(runtime_lock());
    CUstream_st* const stream = stream_of(handle);
    if (stream == nullptr) return returned(cudaErrorInvalidResourceHandle);
    if (stream == &state().default_stream) return returned(cudaErrorStreamCaptureUnsupported);
    if (stream->capture != nullptr) return returned(cudaErrorIllegalState);
    stream->capture = std::make_shared<Capture>(Capture{stream, mode, std::this_thread::get_id(), {}, false, {stream}});
    stream->last_nodes.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    const std::lock_guard guard(runtime_lock());
    const CUstream_st* const stream = stream_of(handle);
    if (stream == nullptr) return returned(cudaErrorInvalidResourceHandle);
    *status = stream->capture == nullptr     ? cudaStreamCaptureStatusNone
              : stream->capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                             : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

// --- errors

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }
