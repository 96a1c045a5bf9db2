#pragma once
// One convolution call solved by one of cuDNN's engines.
#include <cstddef>
#include <memory>
#include <string>

#include "engine/cuda/engine_choice.h"
#include "engine/vendor_calls.h"

namespace mlkd::cuda {

class ConvolutionPlan {
public:
    // nullptr where cuDNN refuses the engine for the graph, with the reason in `why`.
    static std::unique_ptr<ConvolutionPlan> make(const ConvolutionGraph& graph, const EngineChoice& choice, std::string& why);

    const EngineChoice& choice() const { return choice_; }
    std::size_t workspace_bytes() const { return workspace_bytes_; }
    // Enqueues the convolution on the handle's stream. `workspace` holds workspace_bytes() bytes.
    void execute(cudnnHandle_t handle, const ConvolutionOperands& operands, void* workspace) const;

private:
    ConvolutionPlan(const Cudnn& cudnn, EngineChoice choice, Descriptor configuration, Descriptor plan);

    const Cudnn& cudnn_;
    EngineChoice choice_;
    Descriptor configuration_, plan_;
    std::size_t workspace_bytes_;
};

}  // namespace mlkd::cuda
