#pragma once
// Convolutions of the CUDA backend: a plan for each call, its engine chosen by timing once, or remembered.
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda/convolution_plan.h"
#include "engine/cuda/device_memory.h"
#include "engine/files/plan_file.h"

namespace mlkd::cuda {

// Bytes. An engine that wants more is not worth its memory: at batch 128 the hungriest one of these networks takes half.
inline constexpr std::size_t workspace_limit = std::size_t{256} << 20;

// Whether a plan file's choice is one of this backend's: an EngineChoice as text.
bool is_engine_choice(const std::string& choice);

// What cuDNN is asked in place of the call: it has no engine for a residual or a ReLU without a bias, so that one of
// zeros goes along. The result is the same.
ConvolutionCall supported_form(ConvolutionCall call);

class Convolutions {
public:
    // `target` has a handle, whose stream is `stream`.
    Convolutions(const PlanTarget& target, cudaStream_t stream, const EngineRules& rules, std::shared_ptr<PlanFile> plan_file);

    // Calls in f32 or bf16. The first one of a kind allocates and synchronizes: under capture it throws Error instead.
    void run(const ConvolutionCall& call, const ConvolutionOperands& operands);

private:
    EngineRules rules_for(const ConvolutionCall& call) const;
    std::unique_ptr<ConvolutionPlan> make_plan(const ConvolutionCall& call, const ConvolutionOperands& operands);
    // Of the engines that cuDNN proposes the first one that runs, or the quickest one: all are timed on these operands, whose result
    // is overwritten.
    std::unique_ptr<ConvolutionPlan> first_plan(const ConvolutionGraph& graph, const std::string& key, const EngineRules& rules,
                                                const ConvolutionOperands& operands);
    std::unique_ptr<ConvolutionPlan> quickest_plan(const ConvolutionGraph& graph, const std::string& key, const EngineRules& rules,
                                                   const ConvolutionOperands& operands);
    // At least one; throws Error that says what was left out where none qualifies.
    std::vector<EngineChoice> engines_for(const ConvolutionGraph& graph, const std::string& key, const EngineRules& rules) const;
    [[noreturn]] void fail(const std::string& key, const std::string& why) const;

    PlanTarget target_;
    cudaStream_t stream_;
    EngineRules rules_;
    std::shared_ptr<PlanFile> plan_file_;  // other streams' convolutions may share it
    GrowingBuffer workspace_, zeros_;
    std::map<ConvolutionCall, std::unique_ptr<ConvolutionPlan>> plans_;
};

}  // namespace mlkd::cuda
