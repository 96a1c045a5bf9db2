#include "apps/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/atomic_file.h"
#include "engine/error.h"

namespace mlkd {
namespace {

const char* const metrics_name = "metrics.jsonl";
const char* const run_files[] = {"last.safetensors", "best.safetensors",      "student_last.safetensors", "student_best.safetensors",
                                 "config.json",      "convolution_plans.json", metrics_name};

}  // namespace

RunFolder::RunFolder(const std::string& path, bool resume, bool overwrite) : path_(path) {
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    if (error || !std::filesystem::is_directory(path_))
        throw Error(fmt::format("{}: cannot make this output folder: {}; choose another with --output", path_,
                                error ? error.message() : "a file of that name is in the way"));
    if (access(path_.c_str(), W_OK | X_OK) != 0)
        throw Error(fmt::format("{}: cannot write into this output folder: {}; choose another with --output", path_, std::strerror(errno)));
    if (resume) return;
    const bool used = has_checkpoint() || std::filesystem::exists(file(metrics_name));
    if (used && !overwrite)
        throw Error(fmt::format("{}: holds a run already; continue it with --resume, replace it with --overwrite, or choose another --output",
                                path_));
    for (const char* name : run_files) std::filesystem::remove(file(name), error);
}

bool RunFolder::has_checkpoint() const { return std::filesystem::exists(last()); }

void RunFolder::save_config(const nlohmann::ordered_json& config) const { write_file_atomically(file("config.json"), config.dump(2) + "\n"); }

void RunFolder::append_metrics(const nlohmann::ordered_json& line) const {
    const std::string path = file(metrics_name), text = line.dump() + "\n";
    const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    const bool written = descriptor >= 0 && ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                         fdatasync(descriptor) == 0;
    const int reason = errno;
    if (descriptor >= 0) close(descriptor);
    if (!written) throw Error(fmt::format("{}: cannot write: {}", path, reason != 0 ? std::strerror(reason) : "disk full"));
}

void RunFolder::keep_metrics_up_to(std::int64_t epoch) const {
    std::ifstream in(file(metrics_name));
    if (!in) return;
    std::string kept;
    for (std::string line; std::getline(in, line);) {
        const auto entry = nlohmann::json::parse(line, nullptr, false);
        if (entry.is_object() && entry.contains("epoch") && entry["epoch"].is_number_integer() && entry["epoch"].get<std::int64_t>() <= epoch)
            kept += line + "\n";
    }
    in.close();
    write_file_atomically(file(metrics_name), kept);
}

}  // namespace mlkd
