#pragma once
// The subcommands of mlkd. Each adds itself to the command line; its callback sets the exit code.
#include <CLI/CLI.hpp>

#include "apps/device.h"
#include "engine/error.h"

namespace mlkd {

void add_train_command(CLI::App& app, ExitCode& exit_code);
void add_eval_command(CLI::App& app, ExitCode& exit_code);
void add_figures_command(CLI::App& app, ExitCode& exit_code);
void add_bench_command(CLI::App& app, ExitCode& exit_code);
void add_models_command(CLI::App& app, ExitCode& exit_code);
void add_doctor_command(CLI::App& app, ExitCode& exit_code);

// --device, --threads, --precision, --products, --nondeterministic and --deterministic, alike for all commands.
void add_device_options(CLI::App& command, DeviceOptions& options);

}  // namespace mlkd
