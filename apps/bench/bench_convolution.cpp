// Every distinct convolution of the networks of the recipes, in the three directions of a training step.
#include <fmt/format.h>

#include <array>
#include <memory>
#include <set>

#include "apps/bench/bench_case.h"
#include "layers/network.h"

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

BenchWork prepare(Backend& backend, const ConvolutionSite& site, Pass pass, DType precision) {
    auto tensors = std::make_shared<BenchTensors>(backend);
    const Convolution convolution{site.stride, site.filter / 2};
    const Tensor x = tensors->uniform({batch, site.extent, site.extent, site.in}, -1, 1, precision);
    const Tensor w = tensors->uniform({site.out, site.filter, site.filter, site.in}, -1, 1, precision);
    const Tensor y = tensors->uniform(convolution_output_shape(x.shape, w.shape, convolution), -1, 1, precision);
    BenchWork work;
    work.flop = batch * site.flop_per_image();
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
    std::set<std::array<int, 5>> seen;
    for (const char* network_name : {"resnet20", "resnet8x4", "resnet32x4"}) {
        const auto network = make_network(backend, network_name, 100, Role::frozen);
        for (const ConvolutionSite& site : network->convolutions()) {
            if (!seen.insert({site.in, site.out, site.filter, site.stride, site.extent}).second) continue;
            for (const Pass pass : passes) {
                const bool of_images = &site == &network->convolutions().front();
                if (of_images && pass == Pass::backward_data) continue;  // images need no gradient
                cases.push_back({fmt::format("conv/{}/{}/{}", network_name, site.name, name_of(pass)),
                                 [site, pass, precision](Backend& device) { return prepare(device, site, pass, precision); }});
            }
        }
    }
}

}  // namespace mlkd
