#pragma once
// Runs gnuplot on a script.
#include <string>

namespace mlkd {

// Whether `program` is found, by PATH where it is no path itself.
bool is_installed(const std::string& program);

enum class Drawn { yes, no_gnuplot };

// Runs `program` (found by PATH) on the script in its folder, without start-up files, and with the variable `suffix` set,
// which the script is to append to the names of its outputs. Throws Error with gnuplot's complaint where it fails.
Drawn run_gnuplot(const std::string& program, const std::string& folder, const std::string& script, const std::string& suffix);

}  // namespace mlkd
