#pragma once
// Wide residual networks (Zagoruyko and Komodakis, BMVC 2016): pre-activation blocks, without dropout, with the names
// that knowledge-distillation work gives them (block1.layer.0.conv1, convShortcut). Those networks hand out features
// before the activation by calling the first batch norm of stages 2 and 3 and the last one a second time in every forward
// pass, also in training: their running statistics are updated twice. Checkpoints and published numbers carry that, so
// it is kept.
#include <deque>
#include <optional>

#include "layers/network.h"
#include "layers/ops/conv_bn.h"
#include "layers/ops/head.h"

namespace mlkd {

// a = relu(bn1(x)); y = conv2(relu(bn2(conv1(a)))) + shortcut, where the shortcut is x, or a 1×1 convolution of a where
// extent or width changes.
class WideBlock {
public:
    WideBlock(ParameterStore& store, const std::string& name, int in, int out, int stride, int extent, int norm_updates);

    Variable forward(TrainingPass& pass, const Variable& x) const;
    Tensor evaluate(EvaluationPass& pass, const Tensor& x) const;
    void fold(Backend& backend, PersistentArena& arena) { first_.fold(backend, arena); }
    template <class Visit> void for_each_site(Visit visit) const {
        visit(first_.site());
        visit(second_.site());
        if (shortcut_) visit(shortcut_->site());
    }

private:
    std::string name_;
    BatchNorm norm_;
    ConvBn first_;  // conv1 with bn2 behind it
    Conv2d second_;
    std::optional<Conv2d> shortcut_;
};

class WideResNet : public Network {
public:
    // depth = 6n + 4 for n blocks a stage; widths 16, 16·factor, 32·factor, 64·factor.
    WideResNet(Backend& backend, const std::string& name, int depth, int factor, int classes, Role role, DType precision);
    void fold() override;

protected:
    Variable forward_layers(TrainingPass& pass, const Variable& images) override;
    void evaluate_layers(EvaluationPass& pass, const Tensor& logits, const Tensor& images) const override;

private:
    Conv2d stem_;
    std::deque<WideBlock> blocks_;
    std::optional<BatchNorm> norm_;
    std::optional<PooledLinear> head_;
};

}  // namespace mlkd
