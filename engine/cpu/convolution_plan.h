#pragma once
// One convolution call solved one way: the oneDNN primitives, the reorders around them, and their temporaries.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/cpu/onednn.h"
#include "engine/vendor_calls.h"

namespace mlkd::cpu {

enum class ConvolutionMethod {
    direct,          // on (N, H, W, C) as it lies in memory
    direct_blocked,  // on the channel-blocked layout of oneDNN's choice; x and y are reordered around it
    winograd,        // Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016): 3x3, stride 1
};
inline constexpr std::array convolution_methods{ConvolutionMethod::direct, ConvolutionMethod::direct_blocked, ConvolutionMethod::winograd};
const char* name_of(ConvolutionMethod method);
std::optional<ConvolutionMethod> method_named(const std::string& name);

class ConvolutionPlan {
public:
    // nullptr where oneDNN has no such method for the call on this CPU.
    static std::unique_ptr<ConvolutionPlan> make(OneDnn& onednn, const ConvolutionCall& call, ConvolutionMethod method);

    void execute(const ConvolutionOperands& operands);

private:
    enum Role : std::size_t { role_x, role_w, role_y, role_bias, role_residual, roles };

    explicit ConvolutionPlan(OneDnn& onednn) : onednn_(onednn) {}
    bool build(const ConvolutionCall& call, ConvolutionMethod method);
    bool build_forward(const ConvolutionCall& call, ConvolutionMethod method);
    bool build_backward_data(const ConvolutionCall& call, ConvolutionMethod method);
    bool build_backward_filter(const ConvolutionCall& call, ConvolutionMethod method);

    dnnl::memory temporary(const dnnl::memory::desc& desc);
    // The operand `role` in the layout `wanted`: itself, or a temporary. `load` adds the step that fills it,
    // `store` (after the convolution) the one that brings the result home.
    dnnl::memory operand(Role role, const dnnl::memory::desc& wanted);
    bool load(const dnnl::memory& to, Role from);
    bool store(Role to, const dnnl::memory& from);
    bool add_reorder(const dnnl::memory& from, const dnnl::memory& to, bool sum = false);  // sum: to += from
    void add_step(const dnnl::primitive& primitive, std::unordered_map<int, dnnl::memory> arguments, const dnnl::memory::desc& scratchpad);

    struct Step {
        dnnl::primitive primitive;
        std::unordered_map<int, dnnl::memory> arguments;
    };
    OneDnn& onednn_;
    std::array<dnnl::memory, roles> given_;
    std::vector<std::pair<dnnl::memory, std::size_t>> temporaries_;  // with their offsets in the workspace
    std::size_t workspace_bytes_ = 0;
    std::vector<Step> steps_;
};

}  // namespace mlkd::cpu
