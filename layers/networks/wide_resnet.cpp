// Wide residual networks (Zagoruyko and Komodakis, BMVC 2016): pre-activation blocks, without dropout, with the names that
// knowledge-distillation work gives them (block1.layer.0.conv1, convShortcut). Those networks hand out features before the activation by
// calling the first batch norm of stages 2 and 3 and the last one a second time in every forward pass, also in training: their running
// statistics are updated twice. Checkpoints and published numbers carry that, so it is kept.
#include <string>

#include "engine/error.h"
#include "layers/networks/networks.h"
#include "layers/ops/add.h"
#include "layers/ops/conv_norm.h"
#include "layers/ops/pooled_linear.h"

namespace mlkd {
namespace {

// a = relu(bn1(x)); y = conv2(relu(bn2(conv1(a)))) + shortcut, where the shortcut is x, or a 1×1 convolution of a where extent or width
// changes.
Value wide_block(Builder& b, const std::string& name, Value x, int out, int stride, int norm_updates) {
    const int in = b.channels(x);
    const BatchNormState bn1(b.parameters, name + ".bn1", in, norm_updates);
    const ConvNorm conv1(b, name + ".conv1", name + ".bn2", {.in = in, .out = out, .stride = stride});
    const auto conv2 = std::make_shared<Conv2d>(b.parameters, name + ".conv2", ConvShape{.in = out, .out = out});
    const Value a = batch_norm(b, bn1, x, true);
    const Value shortcut = in == out ? x : conv2d(b, name + ".convShortcut", a, {.in = in, .out = out, .filter = 1, .stride = stride});
    return add(b, name, b.graph.add(conv2, {conv1(a, true)}), shortcut);
}

// depth = 6n + 4 for n blocks a stage; widths 16, 16·factor, 32·factor, 64·factor.
void wide_resnet(Builder& b, int depth, int factor) {
    MLKD_CHECK((depth - 4) % 6 == 0, "wide resnet: depth must be 6n + 4");
    Value x = conv2d(b, "conv1", b.images(), {.in = b.channels(b.images()), .out = 16});
    for (int stage = 1; stage <= 3; ++stage)
        for (int i = 0; i < (depth - 4) / 6; ++i) {
            const bool first_of_later_stage = stage > 1 && i == 0;
            x = wide_block(b, "block" + std::to_string(stage) + ".layer." + std::to_string(i), x, (8 << stage) * factor,
                           first_of_later_stage ? 2 : 1, first_of_later_stage ? 2 : 1);
        }
    x = batch_norm(b, BatchNormState(b.parameters, "bn1", b.channels(x), 2), x, true);
    pooled_linear(b, "fc", x, LinearBias::zero);
}

}  // namespace

std::vector<NamedNetwork> wide_resnets() {
    std::vector<NamedNetwork> list;
    for (const int depth : {16, 40})
        for (const int factor : {1, 2})
            list.push_back({"wrn_" + std::to_string(depth) + "_" + std::to_string(factor), [=](Builder& b) { wide_resnet(b, depth, factor); }});
    return list;
}

}  // namespace mlkd
