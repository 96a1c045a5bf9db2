// The CIFAR ResNets (He et al., CVPR 2016, section 4.2) as knowledge-distillation work defines them: three stages of basic blocks, a 1×1
// convolution with batch norm as shortcut wherever extent or width changes (option B).
#include <array>
#include <string>

#include "engine/error.h"
#include "layers/networks/networks.h"
#include "layers/ops/conv_norm.h"
#include "layers/ops/pooled_linear.h"

namespace mlkd {
namespace {

// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))
Value basic_block(Builder& b, const std::string& name, Value x, int out, int stride) {
    const int in = b.channels(x);
    const ConvNorm conv1(b, name + ".conv1", name + ".bn1", {.in = in, .out = out, .stride = stride});
    const ConvNorm conv2(b, name + ".conv2", name + ".bn2", {.in = out, .out = out});
    Value shortcut = x;
    if (stride != 1 || in != out)
        shortcut = ConvNorm(b, name + ".downsample.0", name + ".downsample.1", {.in = in, .out = out, .filter = 1, .stride = stride})(x, false);
    return conv2(conv1(x, true), true, shortcut);
}

// depth = 6n + 2 for n blocks a stage; widths of the stem and the three stages.
void resnet(Builder& b, int depth, const std::array<int, 4>& widths) {
    MLKD_CHECK((depth - 2) % 6 == 0, "resnet: depth must be 6n + 2");
    Value x = ConvNorm(b, "conv1", "bn1", {.in = b.channels(b.images()), .out = widths[0]})(b.images(), true);
    for (int stage = 1; stage <= 3; ++stage)
        for (int i = 0; i < (depth - 2) / 6; ++i)
            x = basic_block(b, "layer" + std::to_string(stage) + "." + std::to_string(i), x, widths[static_cast<std::size_t>(stage)],
                            stage > 1 && i == 0 ? 2 : 1);
    pooled_linear(b, "fc", x);
}

}  // namespace

std::vector<NamedNetwork> resnets() {
    std::vector<NamedNetwork> list;
    const auto add = [&](const std::string& suffix, int depth, const std::array<int, 4>& widths) {
        list.push_back({"resnet" + suffix, [=](Builder& b) { resnet(b, depth, widths); }});
    };
    for (const int depth : {8, 14, 20, 32, 44, 56, 110}) add(std::to_string(depth), depth, {16, 16, 32, 64});
    for (const int depth : {8, 32}) add(std::to_string(depth) + "x4", depth, {32, 64, 128, 256});
    return list;
}

}  // namespace mlkd
