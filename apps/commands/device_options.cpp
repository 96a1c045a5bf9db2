#include "apps/commands/commands.h"

namespace mlkd {

void add_device_options(CLI::App& command, DeviceOptions& options) {
    command.add_option("--device", options.device, "cpu, cuda, cuda:N, or auto: CUDA where it works")->capture_default_str();
    command.add_option("--threads", options.threads, "CPU threads; 0: OMP_NUM_THREADS, else all cores")->capture_default_str();
    command.add_option("--precision", options.precision, "fp32, tf32 (on a GPU), bf16, or auto: tf32 on a GPU, fp32 on a CPU")
        ->capture_default_str();
    command.add_option("--products", options.products, "fp32 or tf32, of a GPU's matrix products, which are the losses'")
        ->capture_default_str();
    CLI::Option* const nondeterministic = command.add_flag("--nondeterministic", options.nondeterministic,
                                                           "on a GPU, also convolutions whose last bits change from run to run");
    command.add_flag("--deterministic", options.deterministic, "convolutions by fixed rules, not by timing: slower, the same bits every time")
        ->excludes(nondeterministic);
}

}  // namespace mlkd
