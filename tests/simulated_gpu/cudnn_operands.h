#pragma once
// Handles of the simulated cuDNN, and the memory that its functions are given: what a GPU would punish ends the program here (fault()).
#include <cudnn_graph.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulated_gpu/cudnn_evaluation.h"

namespace mlkd::simulated {

struct Handle {
    cudaStream_t stream = nullptr;
    std::shared_ptr<Evaluator> evaluator = std::make_shared<Evaluator>();
};

Handle& handle_of(cudnnHandle_t handle);

struct Range {
    std::string name;
    std::byte* start;
    std::size_t bytes;
};

// Fault unless it lies in one allocation of device memory and starts at a multiple of `alignment` bytes.
void require_device_memory(const Range& range, std::size_t alignment);

// Fault where a result overlaps an input or another result.
void require_apart(const std::vector<Range>& results, const std::vector<Range>& inputs);

}  // namespace mlkd::simulated
