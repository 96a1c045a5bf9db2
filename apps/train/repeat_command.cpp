#include "apps/train/repeat_command.h"

#include <fmt/format.h>

#include <filesystem>

namespace mlkd {

std::string shell_word(const std::string& text) {
    const char* const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=+,@%";
    if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? "'\"'\"'" : std::string(1, c);  // without a backslash, which shown() would double
    return quoted + "'";
}

std::string repeat_command(const Config& config, const Backend& backend, const std::string& run_folder) {
    std::error_code unknown;
    const std::string self = std::filesystem::read_symlink("/proc/self/exe", unknown).string();
    std::string folder = run_folder;
    while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
    const std::string again = shell_word(folder + "_again");
    const bool gpu = backend.stream().device == DeviceKind::cuda;
    const std::string device = !gpu ? "cpu" : config.device.starts_with("cuda") ? config.device : "cuda";
    std::string line;
    if (!config.deterministic) line = fmt::format("mkdir -p {0} && cp {1} {0} && ", again, shell_word(folder + "/convolution_plans.json"));
    line += fmt::format("{} train --config {} --output {} --device {} --seed {}", self.empty() ? "mlkd" : shell_word(self),
                        shell_word(folder + "/config.json"), again, device, config.solver.seed);
    if (!gpu) line += fmt::format(" --threads {}", backend.threads());
    if (config.deterministic) line += " --deterministic";
    return line;
}

}  // namespace mlkd
