#include "layers/networks/networks.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/text/nearest.h"
#include "engine/types.h"
#include "layers/network.h"

namespace mlkd {
namespace {

const std::vector<NamedNetwork>& networks() {
    static const std::vector<NamedNetwork> all = [] {
        std::vector<NamedNetwork> list;
        for (const auto& family : {resnets, wide_resnets})
            for (NamedNetwork& network : family()) list.push_back(std::move(network));
        return list;
    }();
    return all;
}

}  // namespace

const std::vector<std::string>& network_names() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> list;
        for (const NamedNetwork& network : networks()) list.push_back(network.name);
        return list;
    }();
    return names;
}

std::string model_advice(const std::string& name) {
    const std::string meant = did_you_mean(name, network_names(), "'");
    return fmt::format("{} known: {}", meant.empty() ? ";" : meant, fmt::join(network_names(), ", "));
}

std::unique_ptr<Network> make_network(Backend& backend, const std::string& name, const NetworkOptions& options) {
    if (options.classes < 2) throw UsageError(fmt::format("model {}: needs at least 2 classes, got {}", name, options.classes));
    if (!is_stored(options.precision))
        throw UsageError(fmt::format("model {}: computes in f32, f64 or bf16, not in {}", name, name_of(options.precision)));
    for (const NamedNetwork& network : networks())
        if (network.name == name) return std::make_unique<Network>(backend, name, options, network.build);
    throw UsageError(fmt::format("unknown model '{}'{}", name, model_advice(name)));
}

}  // namespace mlkd
