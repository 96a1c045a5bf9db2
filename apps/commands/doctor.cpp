#include "apps/commands/commands.h"
#include "apps/report.h"

namespace mlkd {

void add_doctor_command(CLI::App& app, ExitCode&) {
    CLI::App* command = app.add_subcommand("doctor", "Compiler, libraries as compiled and as loaded, processor, threads, GPU or why none");
    command->footer("Example:\n  mlkd doctor");
    command->callback([] { print_doctor(); });
}

}  // namespace mlkd
