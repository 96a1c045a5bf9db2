#include "apps/train/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <vector>

#include "apps/train/input_guard.h"
#include "engine/error.h"
#include "engine/files/atomic_file.h"

namespace mlkd {
namespace {

namespace fs = std::filesystem;

const char* const metrics_name = "metrics.jsonl";
const char* const config_name = "config.json";
const char* const plans_name = "convolution_plans.json";

// student_12.safetensors is one of log.save_checkpoint_freq.
bool is_result(const std::string& name) {
    static const std::regex pattern(R"((last|best|student_(last|best|[0-9]+))\.safetensors|metrics\.jsonl)");
    return std::regex_match(name, pattern);
}
// What a run writes, but for its convolution plans.
bool is_run_file(const std::string& name) { return is_result(name) || name == config_name; }

// What write_file_atomically() leaves where it was killed.
bool is_temporary_file(const std::string& name) {
    const std::string written = name_behind_temporary(name);
    return is_run_file(written) || written == plans_name;
}

std::vector<fs::path> files_in(const std::string& folder, bool (*which)(const std::string& name)) {
    std::error_code error;
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder, error))
        if (which(entry.path().filename().string())) found.push_back(entry.path());
    return found;
}

void remove_files(const std::string& folder, bool (*which)(const std::string& name)) {
    std::error_code error;
    for (const fs::path& path : files_in(folder, which)) fs::remove(path, error);
}

// Whether save_config() wrote the file: nothing is lost when it does so again. Comments, say, would be.
bool is_saved_config(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
    return json.is_object() && json.contains("distiller") && json.contains("solver") && json.dump(2) + "\n" == text;
}

[[noreturn]] void fail_to_write(const std::string& path, const char* reason) {
    throw Error(fmt::format("{}: cannot write: {}", path, reason));
}

}  // namespace

RunFolder::MadeFolders::MadeFolders(const std::string& path) {
    std::error_code error;
    for (fs::path missing = fs::path(path).lexically_normal(); !missing.empty() && !fs::exists(missing, error);
         missing = missing.parent_path())
        if (missing.has_filename()) made_.push_back(missing.string());
    fs::create_directories(path, error);
    if (error || !fs::is_directory(path))
        throw Error(fmt::format("{}: cannot make this output folder: {}; choose another with --output", path,
                                error ? error.message() : "a file of that name is in the way"));
    if (access(path.c_str(), W_OK | X_OK) != 0)
        throw Error(fmt::format("{}: cannot write into this output folder: {}; choose another with --output", path, std::strerror(errno)));
}

RunFolder::MadeFolders::~MadeFolders() {
    for (const std::string& folder : made_)
        if (rmdir(folder.c_str()) != 0) return;  // not empty
}

RunFolder::RunFolder(const std::string& path, bool resume, bool overwrite, const std::vector<std::string>& inputs)
    : path_(path), made_(path), lock_(path_) {
    protect(inputs);
    if (!resume && !overwrite && !files_in(path_, is_result).empty())
        throw Error(fmt::format(
            "{}: holds a run already; continue it with --resume, replace it with --overwrite, or choose another --output", path_));
    remove_files(path_, is_temporary_file);
}

void RunFolder::protect(const std::vector<std::string>& inputs) const {
    for (const fs::path& file : files_in(path_, is_result)) refuse_to_replace_input(file.string(), inputs);
    refuse_to_replace_input(plans(), inputs);
    if (!is_saved_config(file(config_name))) refuse_to_replace_input(file(config_name), inputs);
}

void RunFolder::clear() const { remove_files(path_, is_run_file); }

bool RunFolder::has_checkpoint() const { return fs::exists(last()); }

void RunFolder::save_config(const nlohmann::ordered_json& config) const { write_file_atomically(file(config_name), config.dump(2) + "\n"); }

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
        if (entry.is_object() && entry.contains("epoch") && entry["epoch"].is_number_integer() &&
            entry["epoch"].get<std::int64_t>() <= epoch)
            kept += line + "\n";
    }
    in.close();
    write_file_atomically(file(metrics_name), kept);
}

}  // namespace mlkd
