#include <fmt/format.h>

#include <memory>
#include <string>

#include "apps/commands/commands.h"
#include "apps/output.h"
#include "layers/network.h"

namespace mlkd {
namespace {

std::string all_networks(Backend& backend, int classes) {
    std::string table = fmt::format("{:<12} {:>12} {:>14}\n", "model", "parameters", "MFLOP forward");
    for (const std::string& name : network_names()) {
        const auto network = make_network(backend, name, {classes, Role::frozen});
        table += fmt::format("{:<12} {:>12} {:>14.1f}\n", name, network->parameters().trainable_elements(), network->flop_per_image() / 1e6);
    }
    return table;
}

// The list of operations: what each makes per image, and what it costs forward.
std::string operations(const Network& network, const Graph& graph) {
    std::string table = fmt::format("{:<28} {:<26} {:>14} {:>12} {:>10} {:>12}\n", "operation", "kind", "result", "parameters", "MFLOP", "KB moved");
    for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
        const Graph::Node& node = graph.nodes()[i];
        const std::vector<Shape> x = graph.input_shapes(node);
        const Shape& y = graph.shape({static_cast<int>(i) + 1});
        std::int64_t elements = y.elements();
        for (const Shape& shape : x) elements += shape.elements();
        table += fmt::format("{:<28} {:<26} {:>14} {:>12} {:>10.2f} {:>12.1f}\n", node.op->name(), node.op->kind(), y.text(),
                             node.op->parameter_elements(), node.op->flop(x) / 1e6,
                             static_cast<double>(elements) * static_cast<double>(size_of(network.precision())) / 1e3);
    }
    return table;
}

}  // namespace

void add_models_command(CLI::App& app, ExitCode&) {
    struct Options {
        std::string name;
        int classes = 100;
        bool folded = false;
    };
    auto options = std::make_shared<Options>();
    CLI::App* command = app.add_subcommand("models", "List the networks with their parameters and forward MFLOP an image, or one network's operations");
    command->add_option("NAME", options->name, "one network: its operations, with shapes, parameters, FLOP and bytes an image");
    command->add_option("--classes", options->classes, "classes")->capture_default_str();
    command->add_flag("--folded", options->folded, "its operations in evaluation mode, batch norms folded into filters");
    command->footer("Example:\n  mlkd models --classes 10\n  mlkd models resnet8x4");
    command->callback([options] {
        const auto backend = make_cpu_backend();
        if (options->name.empty()) return print_text(all_networks(*backend, options->classes));
        const auto network = make_network(*backend, options->name, {options->classes, Role::frozen});
        print_text(operations(*network, options->folded ? network->evaluation_graph() : network->graph()));
    });
}

}  // namespace mlkd
