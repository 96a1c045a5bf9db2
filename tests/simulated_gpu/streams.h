#pragma once
// Streams, events and captures of the simulated device. Work waits in its stream until the host waits for it; then it runs on the
// host's thread. What a stream waits for runs first, and nothing else: work that nobody ordered stays undone.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace mlkd::simulated {

struct Work {
    std::string what;
    std::vector<const void*> uses;
    std::function<void()> run;
    cudaGraphNodeType type = cudaGraphNodeTypeKernel;
};

// A node comes after the nodes it depends on, which have smaller numbers.
struct Node {
    std::shared_ptr<const Work> work;
    std::vector<std::size_t> after;
};

struct Capture;

struct Event {
    std::uint64_t recorded = 0, completed = 0;   // how often
    CUstream_st* stream = nullptr;               // that it was recorded on last
    std::chrono::steady_clock::time_point time;  // of the last completion
    std::shared_ptr<Capture> capture;            // it was recorded in, with the nodes before it
    std::vector<std::size_t> nodes;
};

// One piece of a stream: work, or an event to record, or an event to wait for.
struct Item {
    std::shared_ptr<const Work> work;
    std::shared_ptr<Event> event;
    std::uint64_t occasion = 0;  // of the event
    bool records = false;
};

// The origin stream's capture, which other streams join by waiting for an event recorded in it.
struct Capture {
    CUstream_st* origin;
    cudaStreamCaptureMode mode;
    std::thread::id thread;
    std::vector<Node> nodes;
    bool invalidated = false;
    std::set<CUstream_st*> streams;
};

// One lock around everything: the runtime may be called by several threads.
std::recursive_mutex& runtime_lock();

// Keeps the error for cudaGetLastError, and returns it.
cudaError_t returned(cudaError_t status);

// nullptr when `handle` is none.
CUstream_st* stream_of(cudaStream_t handle);

// What cudaMalloc, waits and the like return in a capture of this thread, which they end; else cudaSuccess.
cudaError_t refused_in_capture();

// Like enqueue(), for other types of nodes.
cudaError_t enqueue_as(cudaGraphNodeType type, cudaStream_t stream, std::string what, std::vector<const void*> uses,
                       std::function<void()> work);

void run_work(const Work& work);
// Runs what a stream holds, or all streams.
void finish(CUstream_st& stream);
void finish_all();

}  // namespace mlkd::simulated

struct CUstream_st {
    bool blocking = true;  // towards the legacy default stream
    std::deque<mlkd::simulated::Item> items;
    std::shared_ptr<mlkd::simulated::Capture> capture;
    std::vector<std::size_t> last_nodes;  // of the capture, that the next one comes after
};

struct CUevent_st {
    std::shared_ptr<mlkd::simulated::Event> event = std::make_shared<mlkd::simulated::Event>();
    bool timed = true;
};
