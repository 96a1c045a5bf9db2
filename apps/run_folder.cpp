#include "apps/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <vector>

#include "engine/atomic_file.h"
#include "engine/error.h"

namespace mlkd {
namespace {

const char* const metrics_name = "metrics.jsonl";
// What a run writes, but for its convolution plans; student_12.safetensors is one of log.save_checkpoint_freq.
bool is_run_file(const std::string& name) {
    static const std::regex pattern(R"((last|best|student_(last|best|[0-9]+))\.safetensors|config\.json|metrics\.jsonl)");
    return std::regex_match(name, pattern);
}

// What write_file_atomically() leaves where it was killed.
bool is_temporary_file(const std::string& name) {
    static const std::regex pattern(R"((.*)\.tmp\.[0-9]+)");
    std::smatch match;
    return std::regex_match(name, match, pattern) && (is_run_file(match[1]) || match[1] == "convolution_plans.json");
}

void remove_files(const std::string& folder, bool (*which)(const std::string& name)) {
    std::error_code error;
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error))
        if (which(entry.path().filename().string())) found.push_back(entry.path());
    for (const auto& path : found) std::filesystem::remove(path, error);
}

[[noreturn]] void fail_to_write(const std::string& path, const char* reason) { throw Error(fmt::format("{}: cannot write: {}", path, reason)); }

}  // namespace

RunFolder::RunFolder(const std::string& path, bool resume, bool overwrite) : path_(path) {
    std::error_code error;
    std::filesystem::create_directories(path_, error);
    if (error || !std::filesystem::is_directory(path_))
        throw Error(fmt::format("{}: cannot make this output folder: {}; choose another with --output", path_,
                                error ? error.message() : "a file of that name is in the way"));
    if (access(path_.c_str(), W_OK | X_OK) != 0)
        throw Error(fmt::format("{}: cannot write into this output folder: {}; choose another with --output", path_, std::strerror(errno)));
    const bool used = has_checkpoint() || std::filesystem::exists(file(metrics_name));
    if (used && !resume && !overwrite)
        throw Error(fmt::format("{}: holds a run already; continue it with --resume, replace it with --overwrite, or choose another --output",
                                path_));
    remove_files(path_, is_temporary_file);
}

void RunFolder::clear() const { remove_files(path_, is_run_file); }

bool RunFolder::has_checkpoint() const { return std::filesystem::exists(last()); }

void RunFolder::save_config(const nlohmann::ordered_json& config) const { write_file_atomically(file("config.json"), config.dump(2) + "\n"); }

void RunFolder::append_metrics(const nlohmann::ordered_json& line) const {
    const std::string path = file(metrics_name), text = line.dump() + "\n";
    const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor < 0) fail_to_write(path, std::strerror(errno));
    const off_t size = lseek(descriptor, 0, SEEK_END);
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    const bool whole = written == static_cast<ssize_t>(text.size()) && fdatasync(descriptor) == 0;
    // Less than asked for is written where the disk is full.
    const int reason = written < 0 || written == static_cast<ssize_t>(text.size()) ? errno : ENOSPC;
    const bool restored = whole || ftruncate(descriptor, size) == 0;
    close(descriptor);
    if (!whole) fail_to_write(path, restored ? std::strerror(reason) : "disk full, and its last line is torn");
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
