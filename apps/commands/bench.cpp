#include "apps/commands/commands.h"
namespace mlkd { void add_bench_command(CLI::App&, ExitCode&) {} }
