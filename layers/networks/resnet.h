#pragma once
// The CIFAR ResNets (He et al., CVPR 2016, section 4.2) as knowledge-distillation work defines them: three stages of
// basic blocks, a 1×1 convolution with batch norm as shortcut wherever extent or width changes (option B).
#include <array>
#include <deque>
#include <optional>

#include "layers/network.h"
#include "layers/ops/conv_bn.h"
#include "layers/ops/head.h"

namespace mlkd {

// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))
class BasicBlock {
public:
    BasicBlock(ParameterStore& store, const std::string& name, int in, int out, int stride, int extent);

    Variable forward(TrainingPass& pass, const Variable& x) const;
    Tensor evaluate(EvaluationPass& pass, const Tensor& x) const;
    template <class Visit> void for_each_unit(Visit visit) {
        visit(first_);
        visit(second_);
        if (downsample_) visit(*downsample_);
    }

private:
    std::string name_;
    ConvBn first_, second_;
    std::optional<ConvBn> downsample_;
};

class ResNet : public Network {
public:
    // depth = 6n + 2 for n blocks a stage; widths of the stem and the three stages.
    ResNet(Backend& backend, const std::string& name, int depth, const std::array<int, 4>& widths, int classes, Role role,
           DType precision);
    void fold() override;

protected:
    Variable forward_layers(TrainingPass& pass, const Variable& images) override;
    void evaluate_layers(EvaluationPass& pass, const Tensor& logits, const Tensor& images) const override;

private:
    ConvBn stem_;
    std::deque<BasicBlock> blocks_;
    std::optional<PooledLinear> head_;
};

}  // namespace mlkd
