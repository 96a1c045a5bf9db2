#include "apps/commands/commands.h"

namespace mlkd {

void add_device_options(CLI::App& command, DeviceOptions& options) {
    command.add_option("--device", options.device, "cpu, cuda, or auto: CUDA where it works")->capture_default_str();
    command.add_option("--threads", options.threads, "CPU threads; 0: OMP_NUM_THREADS, else all cores")->capture_default_str();
}

}  // namespace mlkd
