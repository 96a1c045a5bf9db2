#pragma once
// What the program says of itself and of the machine it runs on.
#include <string>

#include "engine/backend.h"

namespace mlkd {

std::string program_version();  // "mlkd 0.1.0"

// Version and device, as the first lines of a run.
void print_environment(const Backend& backend);

// The doctor: compiler, libraries as compiled and as loaded, processor, threads, GPU or why none.
void print_doctor();

}  // namespace mlkd
