// Every distinct convolution of the networks of the recipes, in the three directions of a training step.
#include <fmt/format.h>

#include <array>
#include <memory>
#include <set>

#include "apps/bench/bench_case.h"
#include "layers/network.h"
#include "layers/ops/convolution.h"

namespace mlkd {
namespace {

constexpr std::int64_t batch = 64;

enum class Pass { forward, backward_data, backward_filter };
constexpr std::array passes{Pass::forward, Pass::backward_data, Pass::backward_filter};

const char* name_of(Pass pass) {
    switch (pass) {
        case Pass::forward: return "forward";
        case Pass::backward_data: return "backward_data";
        default: return "backward_filter";
    }
}

// A convolution of a network, and the value (H, W, C) that it gets there.
struct Site {
    const Conv2d* convolution;
    Shape x;
};

BenchWork prepare(Backend& backend, const Site& site, Pass pass, DType precision) {
    auto tensors = std::make_shared<BenchTensors>(backend);
    const Convolution convolution = site.convolution->geometry();
    const Tensor x = tensors->uniform({batch, site.x[0], site.x[1], site.x[2]}, -1, 1, precision);
    const Tensor w = tensors->uniform(site.convolution->weight().shape, -1, 1, precision);
    const Tensor y = tensors->uniform(convolution_output_shape(x.shape, w.shape, convolution), -1, 1, precision);
    BenchWork work;
    work.flop = batch * site.convolution->flop({site.x});
    work.bytes = static_cast<double>(x.bytes() + w.bytes() + y.bytes());
    switch (pass) {
        case Pass::forward: work.run = [=, &backend] { backend.convolution_forward(y, x, w, convolution); }; break;
        case Pass::backward_data: work.run = [=, &backend] { backend.convolution_backward_data(x, y, w, convolution); }; break;
        case Pass::backward_filter: work.run = [=, &backend] { backend.convolution_backward_filter(w, x, y, convolution); }; break;
    }
    work.run = keeping(tensors, std::move(work.run));
    return work;
}

}  // namespace

void add_convolution_cases(std::vector<BenchCase>& cases, Backend& backend, DType precision) {
    std::set<std::string> seen;
    for (const char* network_name : {"resnet20", "resnet8x4", "resnet32x4"}) {
        const std::shared_ptr<Network> network = make_network(backend, network_name, {100, Role::frozen});
        for (const Graph::Node& node : network->graph().nodes()) {
            const auto* const convolution = dynamic_cast<const Conv2d*>(node.op.get());
            if (convolution == nullptr) continue;
            const Site site{convolution, network->graph().shape(node.inputs[0])};
            const bool of_images = node.inputs[0].index == 0;
            if (!seen.insert(fmt::format("{} {} {}", convolution->kind(), convolution->weight().shape.text(), site.x.text())).second) continue;
            for (const Pass pass : passes) {
                if (of_images && pass == Pass::backward_data) continue;  // images need no gradient
                cases.push_back({fmt::format("conv/{}/{}/{}", network_name, convolution->name(), name_of(pass)),
                                 [network, site, pass, precision](Backend& device) { return prepare(device, site, pass, precision); }});
            }
        }
    }
}

}  // namespace mlkd
