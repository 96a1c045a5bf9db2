#pragma once
// The command line around CLI11: what it would take otherwise than meant, and what to say where it refuses.
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace mlkd {

// The arguments without the program's name; "help [COMMAND]" becomes "[COMMAND] --help". Throws UsageError for "--option=" with
// nothing behind it, for which CLI11 would take the next argument.
std::vector<std::string> plain_arguments(int argc, const char* const* argv);

// Every option of every command refuses an empty value; integers may be written 64.0 or 1e1, as in a configuration.
void check_values(CLI::App& app);

// One line about arguments that CLI11 has refused.
std::string usage_message(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& arguments);

}  // namespace mlkd
