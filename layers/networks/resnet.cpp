#include "layers/networks/resnet.h"

#include "engine/error.h"

namespace mlkd {

BasicBlock::BasicBlock(ParameterStore& store, const std::string& name, int in, int out, int stride, int extent)
    : name_(name),
      first_(store, name + ".conv1", name + ".bn1", in, out, 3, stride, extent),
      second_(store, name + ".conv2", name + ".bn2", out, out, 3, 1, extent / stride) {
    if (stride != 1 || in != out) downsample_.emplace(store, name + ".downsample.0", name + ".downsample.1", in, out, 1, stride, extent);
}

Variable BasicBlock::forward(TrainingPass& pass, const Variable& x) const {
    const Variable shortcut = downsample_ ? downsample_->forward(pass, x, {}, false) : x;
    const Variable inner = first_.forward(pass, x, {}, true);
    return second_.forward(pass, inner, shortcut, true);
}

Tensor BasicBlock::evaluate(EvaluationPass& pass, const Tensor& x) const {
    const Shape shape = first_.output_shape(x.shape);
    const Tensor y = pass.arena.allocate(name_, x.dtype, shape);
    StepArena::Scope scope(pass.arena);
    const Tensor inner = pass.arena.allocate(name_ + " inner", x.dtype, shape);
    first_.evaluate(pass, inner, x, {}, true);
    Tensor shortcut = x;
    if (downsample_) {
        shortcut = pass.arena.allocate(name_ + " shortcut", x.dtype, shape);
        downsample_->evaluate(pass, shortcut, x, {}, false);
    }
    second_.evaluate(pass, y, inner, shortcut, true);
    return y;
}

ResNet::ResNet(Backend& backend, const std::string& name, int depth, const std::array<int, 4>& widths, int classes, Role role,
               DType precision)
    : Network(name, classes, precision), stem_(parameters_, "conv1", "bn1", 3, widths[0], 3, 1, 32) {
    MLKD_CHECK((depth - 2) % 6 == 0, "resnet: depth must be 6n + 2");
    std::vector<ConvolutionSite> sites{stem_.site()};
    int in = widths[0], extent = 32;
    for (int stage = 1; stage <= 3; ++stage) {
        const int out = widths[static_cast<std::size_t>(stage)];
        for (int i = 0; i < (depth - 2) / 6; ++i) {
            const int stride = stage > 1 && i == 0 ? 2 : 1;
            blocks_.emplace_back(parameters_, "layer" + std::to_string(stage) + "." + std::to_string(i), in, out, stride, extent)
                .for_each_unit([&](const ConvBn& unit) { sites.push_back(unit.site()); });
            in = out;
            extent /= stride;
        }
    }
    head_.emplace(parameters_, "fc", in, classes, LinearBias::uniform);
    finish(backend, role, std::move(sites), head_->flop_per_image());
}

void ResNet::fold() {
    stem_.fold(*backend_, *arena_);
    for (BasicBlock& block : blocks_) block.for_each_unit([&](ConvBn& unit) { unit.fold(*backend_, *arena_); });
}

Variable ResNet::forward_layers(TrainingPass& pass, const Variable& images) {
    Variable x = stem_.forward(pass, images, {}, true);
    for (const BasicBlock& block : blocks_) x = block.forward(pass, x);
    return head_->forward(pass, x);
}

void ResNet::evaluate_layers(EvaluationPass& pass, const Tensor& logits, const Tensor& images) const {
    Tensor x = pass.arena.allocate("conv1", images.dtype, stem_.output_shape(images.shape));
    stem_.evaluate(pass, x, images, {}, true);
    for (const BasicBlock& block : blocks_) x = block.evaluate(pass, x);
    head_->evaluate(pass, logits, x);
}

}  // namespace mlkd
