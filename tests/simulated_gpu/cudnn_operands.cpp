#include "tests/simulated_gpu/cudnn_operands.h"

#include <fmt/format.h>

#include <cstdint>

#include "tests/simulated_gpu/device.h"

namespace mlkd::simulated {
namespace {

void require_apart(const Range& result, const Range& other) {
    if (result.start < other.start + other.bytes && other.start < result.start + result.bytes)
        fault(fmt::format("cuDNN: {} overlaps {}, while it is written", result.name, other.name));
}

}  // namespace

Handle& handle_of(cudnnHandle_t handle) { return *reinterpret_cast<Handle*>(handle); }

void require_device_memory(const Range& range, std::size_t alignment) {
    const void* const start = range.start;
    if (!is_device_memory(start, range.bytes))
        fault(fmt::format("cuDNN: {} ({} bytes from {}) is not in one allocation of device memory", range.name, range.bytes, start));
    if (reinterpret_cast<std::uintptr_t>(start) % alignment != 0)
        fault(fmt::format("cuDNN: {} at {} is not aligned to {} bytes, as was promised", range.name, start, alignment));
}

void require_apart(const std::vector<Range>& results, const std::vector<Range>& inputs) {
    for (std::size_t i = 0; i < results.size(); ++i) {
        for (const Range& input : inputs) require_apart(results[i], input);
        for (std::size_t j = i + 1; j < results.size(); ++j) require_apart(results[i], results[j]);
    }
}

}  // namespace mlkd::simulated
