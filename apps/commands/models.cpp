#include <fmt/format.h>

#include <memory>

#include "apps/commands/commands.h"
#include "apps/output.h"
#include "layers/network.h"

namespace mlkd {

void add_models_command(CLI::App& app, ExitCode&) {
    auto classes = std::make_shared<int>(100);
    CLI::App* command = app.add_subcommand("models", "List the networks with their parameters and forward MFLOP an image");
    command->add_option("--classes", *classes, "classes")->capture_default_str();
    command->footer("Example:\n  mlkd models --classes 10");
    command->callback([classes] {
        const auto backend = make_cpu_backend();
        std::string table = fmt::format("{:<12} {:>12} {:>14}\n", "model", "parameters", "MFLOP forward");
        for (const std::string& name : network_names()) {
            const auto network = make_network(*backend, name, *classes, Role::frozen);
            table += fmt::format("{:<12} {:>12} {:>14.1f}\n", name, network->parameters().trainable_elements(), network->flop_per_image() / 1e6);
        }
        print_text(table);
    });
}

}  // namespace mlkd
