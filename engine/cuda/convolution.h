#pragma once
// Convolutions of the CUDA backend: a plan for each problem, its engine chosen by timing once, or remembered.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda/convolution_plan.h"
#include "engine/cuda/device_memory.h"
#include "engine/plan_file.h"

namespace mlkd::cuda {

// Bytes. An engine that wants more is not worth its memory: at batch 128 the hungriest one of these networks takes half.
inline constexpr std::size_t workspace_limit = std::size_t{256} << 20;

// Whether a plan file's choice is one of this backend's: an EngineChoice as text.
bool is_engine_choice(const std::string& choice);

// What cuDNN is asked in place of the problem: it has no engine for a residual or a ReLU without a bias, so that one of
// zeros goes along. The result is the same.
ConvolutionProblem supported_form(ConvolutionProblem problem);

class Convolutions {
public:
    // `target` has a handle, whose stream is `stream`.
    Convolutions(const PlanTarget& target, cudaStream_t stream, const EngineRules& rules, PlanFile plan_file);

    // Problems in f32 or bf16. A problem's first call allocates and synchronizes: under capture it throws Error instead.
    void run(const ConvolutionProblem& problem, const ConvolutionOperands& operands);

private:
    EngineRules rules_for(const ConvolutionProblem& problem) const;
    std::unique_ptr<ConvolutionPlan> make_plan(const ConvolutionProblem& problem, const ConvolutionOperands& operands);
    // Times every engine that cuDNN proposes on these operands, or takes the first one that runs, as the rules say; the
    // result is overwritten.
    std::unique_ptr<ConvolutionPlan> quickest_plan(const ConvolutionGraph& graph, const std::string& key, const EngineRules& rules,
                                                   const ConvolutionOperands& operands);

    PlanTarget target_;
    cudaStream_t stream_;
    EngineRules rules_;
    PlanFile plan_file_;
    GrowingBuffer workspace_, zeros_;
    std::map<ConvolutionProblem, std::unique_ptr<ConvolutionPlan>> plans_;
};

}  // namespace mlkd::cuda
