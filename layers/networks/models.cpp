// The networks by name: their depths and widths.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "engine/error.h"
#include "engine/text/nearest.h"
#include "engine/types.h"
#include "layers/network.h"
#include "layers/networks/resnet.h"
#include "layers/networks/wide_resnet.h"

namespace mlkd {
namespace {

struct Model {
    std::string name;
    std::function<std::unique_ptr<Network>(Backend&, const std::string&, int classes, Role, DType precision)> make;
};

Model resnet(const std::string& suffix, int depth, const std::array<int, 4>& widths) {
    return {"resnet" + suffix, [depth, widths](Backend& backend, const std::string& name, int classes, Role role, DType precision) {
                return std::make_unique<ResNet>(backend, name, depth, widths, classes, role, precision);
            }};
}

Model wide(int depth, int factor) {
    return {fmt::format("wrn_{}_{}", depth, factor),
            [depth, factor](Backend& backend, const std::string& name, int classes, Role role, DType precision) {
                return std::make_unique<WideResNet>(backend, name, depth, factor, classes, role, precision);
            }};
}

const std::vector<Model>& models() {
    static const std::vector<Model> all = [] {
        const std::array<int, 4> narrow{16, 16, 32, 64}, fourfold{32, 64, 128, 256};
        std::vector<Model> list;
        for (int depth : {8, 14, 20, 32, 44, 56, 110}) list.push_back(resnet(std::to_string(depth), depth, narrow));
        for (int depth : {8, 32}) list.push_back(resnet(std::to_string(depth) + "x4", depth, fourfold));
        for (int depth : {16, 40})
            for (int factor : {1, 2}) list.push_back(wide(depth, factor));
        return list;
    }();
    return all;
}

}  // namespace

const std::vector<std::string>& network_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> list;
        for (const Model& model : models()) list.push_back(model.name);
        return list;
    }();
    return names;
}

std::string model_advice(const std::string& name) {
    const std::string meant = did_you_mean(name, network_names(), "'");
    return fmt::format("{} known: {}", meant.empty() ? ";" : meant, fmt::join(network_names(), ", "));
}

std::unique_ptr<Network> make_network(Backend& backend, const std::string& name, int classes, Role role, DType precision) {
    if (classes < 2) throw UsageError(fmt::format("model {}: needs at least 2 classes, got {}", name, classes));
    if (!is_stored(precision)) throw UsageError(fmt::format("model {}: computes in f32, f64 or bf16, not in {}", name, name_of(precision)));
    for (const Model& model : models())
        if (model.name == name) return model.make(backend, name, classes, role, precision);
    throw UsageError(fmt::format("unknown model '{}'{}", name, model_advice(name)));
}

}  // namespace mlkd
