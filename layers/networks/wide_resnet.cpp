#include "layers/networks/wide_resnet.h"

#include "engine/error.h"
#include "engine/kernels/elementwise.h"

namespace mlkd {
namespace {

// sum = a + b, written over a's memory: a's gradient and b's are the sum's.
Variable add_in_place(TrainingPass& pass, const std::string& name, const Variable& a, const Variable& b) {
    add_to(pass.backend.stream(), a.value, b.value);
    const Variable out = pass.tape.variable(a.value);
    // a is used here alone: whoever made it reads its gradient before b's, in the same memory, is added to.
    pass.tape.record(name, [&tape = pass.tape, a, b, out] {
        tape.contribute(*a.gradient, out.gradient->tensor);
        tape.contribute(*b.gradient, out.gradient->tensor);
    });
    return out;
}

}  // namespace

WideBlock::WideBlock(ParameterStore& store, const std::string& name, int in, int out, int stride, int extent, int norm_updates)
    : name_(name),
      norm_(store, name + ".bn1", in, norm_updates),
      first_(store, name + ".conv1", name + ".bn2", in, out, 3, stride, extent),
      second_(store, name + ".conv2", out, out, 3, 1, extent / stride) {
    if (in != out) shortcut_.emplace(store, name + ".convShortcut", in, out, 1, stride, extent);
}

Variable WideBlock::forward(TrainingPass& pass, const Variable& x) const {
    const Variable a = norm_.forward(pass, x, {}, true);
    const Variable shortcut = shortcut_ ? shortcut_->forward(pass, a) : x;
    const Variable inner = second_.forward(pass, first_.forward(pass, a, {}, true));
    return add_in_place(pass, name_, inner, shortcut);
}

Tensor WideBlock::evaluate(EvaluationPass& pass, const Tensor& x) const {
    const Shape shape = first_.output_shape(x.shape);
    const Tensor y = pass.arena.allocate(name_, x.dtype, shape);
    StepArena::Scope scope(pass.arena);
    const Tensor a = pass.arena.allocate(name_ + " activated", x.dtype, x.shape);
    norm_.evaluate(pass, a, x, true);
    const Tensor inner = pass.arena.allocate(name_ + " inner", x.dtype, shape);
    first_.evaluate(pass, inner, a, {}, true);
    Tensor shortcut = x;
    if (shortcut_) {
        shortcut = pass.arena.allocate(name_ + " shortcut", x.dtype, shape);
        shortcut_->evaluate(pass, shortcut, a);
    }
    second_.evaluate(pass, y, inner, Epilogue{{}, shortcut, false});
    return y;
}

WideResNet::WideResNet(Backend& backend, const std::string& name, int depth, int factor, int classes, Role role, DType precision)
    : Network(name, classes, precision), stem_(parameters_, "conv1", 3, 16, 3, 1, 32) {
    MLKD_CHECK((depth - 4) % 6 == 0, "wide resnet: depth must be 6n + 4");
    std::vector<ConvolutionSite> sites{stem_.site()};
    int in = 16, extent = 32;
    for (int stage = 1; stage <= 3; ++stage) {
        const int out = (8 << stage) * factor;
        for (int i = 0; i < (depth - 4) / 6; ++i) {
            const bool first_of_later_stage = stage > 1 && i == 0;
            const int stride = first_of_later_stage ? 2 : 1, norm_updates = first_of_later_stage ? 2 : 1;
            blocks_.emplace_back(parameters_, "block" + std::to_string(stage) + ".layer." + std::to_string(i), in, out, stride, extent,
                                 norm_updates)
                .for_each_site([&](const ConvolutionSite& site) { sites.push_back(site); });
            in = out;
            extent /= stride;
        }
    }
    norm_.emplace(parameters_, "bn1", in, 2);
    head_.emplace(parameters_, "fc", in, classes, LinearBias::zero);
    finish(backend, role, std::move(sites), head_->flop_per_image());
}

void WideResNet::fold() {
    for (WideBlock& block : blocks_) block.fold(*backend_, *arena_);
}

Variable WideResNet::forward_layers(TrainingPass& pass, const Variable& images) {
    Variable x = stem_.forward(pass, images);
    for (const WideBlock& block : blocks_) x = block.forward(pass, x);
    return head_->forward(pass, norm_->forward(pass, x, {}, true));
}

void WideResNet::evaluate_layers(EvaluationPass& pass, const Tensor& logits, const Tensor& images) const {
    Tensor x = pass.arena.allocate("conv1", images.dtype, stem_.output_shape(images.shape));
    stem_.evaluate(pass, x, images);
    for (const WideBlock& block : blocks_) x = block.evaluate(pass, x);
    norm_->evaluate(pass, x, x, true);
    head_->evaluate(pass, logits, x);
}

}  // namespace mlkd
