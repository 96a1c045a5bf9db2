#include "engine/cpu/convolution_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/cpu/onednn_descriptors.h"

namespace mlkd::cpu {
namespace {

using dnnl::memory;
using Tag = dnnl::memory::format_tag;

memory::data_type type_of(const ConvolutionCall& call) {
    return call.dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

dnnl::algorithm algorithm_of(ConvolutionMethod method) {
    return method == ConvolutionMethod::winograd ? dnnl::algorithm::convolution_winograd : dnnl::algorithm::convolution_direct;
}

// Extents in oneDNN's order of axes, whatever the order in memory.
struct Extents {
    memory::dims x, w, y;

    explicit Extents(const ConvolutionCall& p) : x{p.n, p.c, p.h, p.w}, w{p.k, p.c, p.r, p.s}, y{p.n, p.k, p.p(), p.q()} {}
};

// What is asked of a primitive: activations as they lie or in its own layout, filters in its own.
ConvolutionLayouts layouts_of(const ConvolutionCall& p, ConvolutionMethod method) {
    const Extents extents(p);
    const auto type = type_of(p);
    const Tag activations = method == ConvolutionMethod::direct ? Tag::nhwc : Tag::any;
    return {.algorithm = algorithm_of(method),
            .x = {extents.x, type, activations},
            .w = {extents.w, type, Tag::any},
            .bias = p.bias ? memory::desc({p.k}, type, Tag::a) : memory::desc(),
            .y = {extents.y, type, activations},
            .strides = {p.stride, p.stride},
            .padding_before = {p.padding, p.padding},
            // The padding behind, exactly as far as the last filter position reaches: with stride 2 less than the padding
            // before, and negative where the last rows are never read.
            .padding_after = {(p.p() - 1) * p.stride + p.r - p.h - p.padding, (p.q() - 1) * p.stride + p.s - p.w - p.padding}};
}

}  // namespace

const char* name_of(ConvolutionMethod method) {
    switch (method) {
        case ConvolutionMethod::direct:
            return "direct";
        case ConvolutionMethod::direct_blocked:
            return "direct_blocked";
        case ConvolutionMethod::winograd:
            return "winograd";
    }
    return "?";
}

std::optional<ConvolutionMethod> method_named(const std::string& name) {
    for (const ConvolutionMethod method : convolution_methods)
        if (name == name_of(method)) return method;
    return std::nullopt;
}

std::unique_ptr<ConvolutionPlan> ConvolutionPlan::make(OneDnn& onednn, const ConvolutionCall& call, ConvolutionMethod method) {
    std::unique_ptr<ConvolutionPlan> plan(new ConvolutionPlan(onednn));
    return plan->build(call, method) ? std::move(plan) : nullptr;
}

bool ConvolutionPlan::build(const ConvolutionCall& call, ConvolutionMethod method) {
    const Extents extents(call);
    const auto given = [&](const memory::dims& dims, Tag tag) { return memory({dims, type_of(call), tag}, onednn_.engine, nullptr); };
    given_ = {given(extents.x, Tag::nhwc), given(extents.w, Tag::ohwi), given(extents.y, Tag::nhwc), given({call.k}, Tag::a),
              given(extents.y, Tag::nhwc)};
    switch (call.direction) {
        case Direction::forward:
            return build_forward(call, method);
        case Direction::backward_data:
            return build_backward_data(call, method);
        case Direction::backward_filter:
            return build_backward_filter(call, method);
    }
    return false;
}

bool ConvolutionPlan::build_forward(const ConvolutionCall& call, ConvolutionMethod method) {
    // The residual is added by a sum post-op, which reads it from y; a binary post-op would read it where it lies, but
    // Winograd has none.
    dnnl::post_ops post_ops;
    if (call.residual) post_ops.append_sum();
    if (call.relu) append_relu(post_ops);
    dnnl::primitive_attr attr = user_scratchpad();
    attr.set_post_ops(post_ops);
    const auto forward = convolution_forward(onednn_.engine, layouts_of(call, method), attr);
    if (!forward) return false;
    const memory x = operand(role_x, forward.src_desc()), w = operand(role_w, forward.weights_desc()),
                 y = operand(role_y, forward.dst_desc());
    if (!load(x, role_x) || !load(w, role_w)) return false;
    if (call.residual && !add_reorder(given_[role_residual], y)) return false;
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}};
    if (call.bias) arguments.emplace(DNNL_ARG_BIAS, given_[role_bias]);
    add_step(dnnl::convolution_forward(forward), std::move(arguments), forward.scratchpad_desc());
    return store(role_y, y);
}

bool ConvolutionPlan::build_backward_data(const ConvolutionCall& call, ConvolutionMethod method) {
    const ConvolutionLayouts layouts = layouts_of(call, method);
    const dnnl::primitive_attr attr = user_scratchpad();
    const auto hint = convolution_forward(onednn_.engine, layouts, attr);
    if (!hint) return false;
    const auto backward = convolution_backward_data(onednn_.engine, layouts, hint, attr);
    if (!backward) return false;
    // oneDNN cannot add to dL_dx itself; the reorder home can.
    const memory dx = call.accumulate ? temporary(backward.diff_src_desc()) : operand(role_x, backward.diff_src_desc());
    const memory w = operand(role_w, backward.weights_desc()), dy = operand(role_y, backward.diff_dst_desc());
    if (!load(dy, role_y) || !load(w, role_w)) return false;
    add_step(dnnl::convolution_backward_data(backward), {{DNNL_ARG_DIFF_SRC, dx}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DIFF_DST, dy}},
             backward.scratchpad_desc());
    return call.accumulate ? add_reorder(dx, given_[role_x], true) : store(role_x, dx);
}

bool ConvolutionPlan::build_backward_filter(const ConvolutionCall& call, ConvolutionMethod method) {
    const ConvolutionLayouts layouts = layouts_of(call, method);
    const dnnl::primitive_attr attr = user_scratchpad();
    const auto hint = convolution_forward(onednn_.engine, layouts, attr);
    if (!hint) return false;
    const auto backward = convolution_backward_filter(onednn_.engine, layouts, hint, attr);
    if (!backward) return false;
    const memory x = operand(role_x, backward.src_desc()), dw = operand(role_w, backward.diff_weights_desc()),
                 dy = operand(role_y, backward.diff_dst_desc());
    if (!load(x, role_x) || !load(dy, role_y)) return false;
    add_step(dnnl::convolution_backward_weights(backward), {{DNNL_ARG_SRC, x}, {DNNL_ARG_DIFF_WEIGHTS, dw}, {DNNL_ARG_DIFF_DST, dy}},
             backward.scratchpad_desc());
    return store(role_w, dw);
}

memory ConvolutionPlan::temporary(const memory::desc& desc) {
    constexpr std::size_t alignment = 64;
    memory result(desc, onednn_.engine, nullptr);
    temporaries_.emplace_back(result, workspace_bytes_);
    workspace_bytes_ += (desc.get_size() + alignment - 1) / alignment * alignment;
    return result;
}

memory ConvolutionPlan::operand(Role role, const memory::desc& wanted) {
    return wanted == given_[role].get_desc() ? given_[role] : temporary(wanted);
}

bool ConvolutionPlan::load(const memory& to, Role from) { return to == given_[from] || add_reorder(given_[from], to); }

bool ConvolutionPlan::store(Role to, const memory& from) { return from == given_[to] || add_reorder(from, given_[to]); }

bool ConvolutionPlan::add_reorder(const memory& from, const memory& to, bool sum) {
    dnnl::primitive_attr attr = user_scratchpad();
    if (sum) {
        dnnl::post_ops post_ops;
        post_ops.append_sum();
        attr.set_post_ops(post_ops);
    }
    const dnnl::reorder::primitive_desc desc(onednn_.engine, from.get_desc(), onednn_.engine, to.get_desc(), attr, true);
    if (!desc) return false;
    add_step(dnnl::reorder(desc), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}, desc.scratchpad_desc());
    return true;
}

void ConvolutionPlan::add_step(const dnnl::primitive& primitive, std::unordered_map<int, memory> arguments,
                               const memory::desc& scratchpad) {
    if (scratchpad.get_size() > 0) arguments.emplace(DNNL_ARG_SCRATCHPAD, temporary(scratchpad));
    steps_.push_back({primitive, std::move(arguments)});
}

void ConvolutionPlan::execute(const ConvolutionOperands& operands) {
    const std::array addresses{operands.x, operands.w, operands.y, operands.bias, operands.residual};
    for (std::size_t role = 0; role < roles; ++role) given_[role].set_data_handle(addresses[role]);
    std::byte* workspace = onednn_.workspace.reserve(workspace_bytes_);
    for (auto& [temporary, offset] : temporaries_) temporary.set_data_handle(workspace + offset);
    for (const Step& step : steps_) step.primitive.execute(onednn_.stream, step.arguments);
    onednn_.stream.wait();
}

}  // namespace mlkd::cpu
