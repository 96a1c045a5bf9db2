#pragma once
// What every oneDNN operation of the CPU backend shares: the engine, the stream, and one workspace.
#include <cstddef>
#include <functional>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

namespace mlkd::cpu {

// Host memory, 64-byte aligned (2 MiB and huge pages where it is large: page faults and TLB misses cost more than the
// arithmetic of a small network). Throws Error when there is none left.
void* allocate_host_memory(std::size_t bytes);

struct HostMemoryDeleter {
    void operator()(std::byte* memory) const noexcept;
};
using HostMemory = std::unique_ptr<std::byte[], HostMemoryDeleter>;

// Temporary memory of one operation at a time: scratchpads and reordered operands. Grows, never shrinks.
class Workspace {
public:
    // At least `bytes` bytes, uninitialised, valid until the next call.
    std::byte* reserve(std::size_t bytes);

private:
    HostMemory memory_;
    std::size_t bytes_ = 0;
};

struct OneDnn {
    dnnl::engine engine{dnnl::engine::kind::cpu, 0};
    dnnl::stream stream{engine};
    Workspace workspace;
};

// Runs `work` and turns oneDNN's exceptions into Error "<what>: oneDNN: <reason>".
void with_onednn_errors(const std::string& what, const std::function<void()>& work);

std::string onednn_version();   // "2.6.3": of the library loaded at run time
std::string instruction_set();  // "avx512_core_bf16": what oneDNN generates code for

}  // namespace mlkd::cpu
