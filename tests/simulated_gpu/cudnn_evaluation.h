#pragma once
// Evaluation of an operation graph on the host: operands are gathered by the strides of their descriptors, everything between them is
// float32, results are scattered by their strides and rounded once.
#include <map>
#include <mutex>
#include <vector>

#include "engine/cpu/convolution.h"
#include "tests/simulated_gpu/cudnn_graph.h"

namespace mlkd::simulated {

// What an engine does to the float32 factors of a convolution's products.
enum class Factors { exact, tf32, bfloat16 };

class Evaluator {
public:
    // addresses: of every tensor that is not virtual, by id.
    void run(const OperationGraph& graph, const std::map<std::int64_t, void*>& addresses, Factors factors);

private:
    struct Values {
        Extents extents;
        std::vector<float> values;  // (N, H, W, C), or (K, R, S, C), packed
    };
    static Values gathered(const GraphTensor& tensor, const void* address);
    static void scatter(const GraphTensor& tensor, const Values& values, void* address);

    Values convolved(const ConvolutionOperation& operation, const std::map<std::int64_t, Values>& values, Factors factors);
    static Values combined(const PointwiseOperation& operation, const std::map<std::int64_t, Values>& values);

    std::mutex mutex_;  // one evaluation at a time
    cpu::OneDnn onednn_;
    cpu::Convolutions convolutions_{onednn_, cpu::ConvolutionPolicy::direct, PlanFile("", "", cpu::is_convolution_method)};
};

}  // namespace mlkd::simulated
