#include <fmt/format.h>

#include <memory>

#include "apps/commands/commands.h"
#include "apps/config/config.h"
#include "apps/config/config_source.h"
#include "apps/config/idle_settings.h"
#include "apps/output.h"
#include "apps/signals.h"
#include "apps/train/trainer.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

struct TrainArguments {
    std::string config;
    std::vector<std::string> overrides;
    TrainOptions options;
    std::string seed, device, threads, precision, output, data;
    bool no_graph = false, deterministic = false, print_config = false;
};

// Options are shorthands of configuration keys. Throws where an argument gives the key another value.
std::vector<std::string> all_overrides(const TrainArguments& arguments) {
    std::vector<std::string> overrides = arguments.overrides;
    const auto add = [&](const std::string& key, const std::string& value, const std::string& option) {
        if (value.empty()) return;
        const std::string setting = key + "=" + value;
        for (const std::string& given : arguments.overrides)
            if (given.starts_with(key + "=") && setting_of_argument(given).value != setting_of_argument(setting).value)
                throw UsageError(fmt::format("command line: {} and {} contradict each other; give one of them", option, given));
        overrides.push_back(setting);
    };
    add("solver.seed", arguments.seed, "--seed " + arguments.seed);
    add("device", arguments.device, "--device " + arguments.device);
    add("threads", arguments.threads, "--threads " + arguments.threads);
    add("precision", arguments.precision, "--precision " + arguments.precision);
    add("graph", arguments.no_graph ? "false" : "", "--no-graph");
    add("deterministic", arguments.deterministic ? "true" : "", "--deterministic");
    add("output", arguments.output, "--output " + arguments.output);
    add("dataset.path", arguments.data, "--data " + arguments.data);
    return overrides;
}

}  // namespace

void add_train_command(CLI::App& app, ExitCode& exit_code) {
    auto arguments = std::make_shared<TrainArguments>();
    CLI::App* command = app.add_subcommand("train", "Train a network alone (distiller.type none), or distil a teacher into a student");
    command->add_option("-c,--config", arguments->config, "recipe: JSON with comments, see configs/");
    command->add_option("overrides", arguments->overrides, "settings over the recipe's, e.g. solver.lr=0.1");
    CLI::Option* const resume = command->add_flag("--resume", arguments->options.resume, "continue where the run's last checkpoint stands");
    command->add_flag("--overwrite", arguments->options.overwrite, "replace the run that the output folder holds")->excludes(resume);
    command->add_option("--seed", arguments->seed, "solver.seed");
    command->add_option("-d,--data", arguments->data, "dataset.path: a folder, or synthetic");
    command->add_option("--output", arguments->output, "the run's folder");
    command->add_option("--device", arguments->device, "cpu, cuda, cuda:N or auto");
    command->add_option("--threads", arguments->threads, "CPU threads; 0: OMP_NUM_THREADS, else all cores");
    command->add_option("--precision", arguments->precision, "fp32, tf32 (on a GPU), bf16, or auto: tf32 on a GPU, fp32 on a CPU");
    command->add_flag("--no-graph", arguments->no_graph, "on a GPU, launch the kernels of a step one by one: slower, the same bits");
    command->add_flag("--deterministic", arguments->deterministic,
                      "convolutions by fixed rules, not by timing: slower, the same bits every time, also in a fresh folder");
    command->add_flag("--trace-step", arguments->options.trace_step,
                      "print the first step's operations: shape, norm and microseconds of each, and go on");
    command->add_flag("--print-config", arguments->print_config, "print the resolved configuration and stop");
    command->footer(
        "Examples:\n"
        "  mlkd train --config configs/cifar100/resnet32x4_resnet8x4/vanilla_teacher.json --data cifar-100-binary\n"
        "  mlkd train --config configs/cifar100/resnet32x4_resnet8x4/kd.json --data cifar-100-binary solver.epochs=10 --seed 1");
    command->callback([arguments, &exit_code] {
        const std::vector<std::string> overrides = all_overrides(*arguments);
        const Config config = load_config(arguments->config, overrides);
        if (arguments->print_config) {
            print("{}\n", to_json(config).dump(2));
            return;
        }
        arguments->options.config_file = arguments->config;
        const SignalWatch watch(OnSignal::end);  // until training begins
        make_output_optional(fmt::format("the training goes on, its numbers are in {}/metrics.jsonl", output_folder(config)));
        for (const std::string& line : idle_settings(config, overrides)) print("note      {}\n", shown(line));
        exit_code = Trainer(config, arguments->options).run();
    });
}

}  // namespace mlkd
