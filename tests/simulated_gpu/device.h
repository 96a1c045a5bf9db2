#pragma once
// A GPU that is simulated on the host, with a GPU's rules: what the parts of tests/simulated_gpu/ ask of it.
//
// The program is linked with a CUDA runtime of our own (runtime_*.cpp) in place of cudart. It finds cuBLAS and cuDNN as ever, by
// dlopen (engine/cuda/vendor.h): shared libraries of the build with these names, made of cublas.cpp and cudnn*.cpp. They use the
// functions below, which the program exports, so that there is one device.
//
// Work on a stream runs later, when the host waits, and on the thread that waits. Device memory can be read and written
// while it runs, and only the allocations in `uses`; at any other time its pages are inaccessible.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace mlkd::simulated {

// Puts work on a stream, or into the graph that the stream is being captured into; then a graph's launch runs `work`, each time
// anew, so it must leave what it captured as it was. `what` names it in faults. `uses`: addresses in device memory, any one inside an
// allocation stands for the whole of it; nullptr is skipped. Fault: a use that is not in a live allocation, at the call or later
// when a graph is launched. Returns what a launch on a GPU would: errors of a capture, cudaErrorInvalidResourceHandle for a stream
// that is none. Nothing is enqueued then.
cudaError_t enqueue(cudaStream_t stream, std::string what, std::vector<const void*> uses, std::function<void()> work);

// Whether `bytes` bytes from `address` on lie in one live allocation.
bool is_device_memory(const void* address, std::size_t bytes);

// Ends the program with one line, "simulated GPU: <message>", and the callers' names on standard error: what would be silent
// damage or a dead context on a GPU.
[[noreturn]] void fault(const std::string& message);

}  // namespace mlkd::simulated
