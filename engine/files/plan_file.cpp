#include "engine/files/plan_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/error.h"
#include "engine/files/atomic_file.h"

namespace mlkd {
namespace {

constexpr const char* format_name = "mlkd convolution plans 1";

}  // namespace

PlanFile::PlanFile(std::string path, std::string machine, bool (*valid)(const std::string& choice))
    : path_(std::move(path)), machine_(std::move(machine)) {
    if (!path_.empty()) read(valid);
}

void PlanFile::read(bool (*valid)(const std::string& choice)) {
    std::error_code unknown;
    const auto type = std::filesystem::status(path_, unknown).type();
    if (type == std::filesystem::file_type::not_found) return;
    if (type == std::filesystem::file_type::directory) throw Error(path_ + ": cannot read: is a directory");
    errno = 0;
    std::ifstream file(path_, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file) throw Error(fmt::format("{}: cannot read: {}", path_, errno != 0 ? std::strerror(errno) : "input error"));
    try {
        const auto json = nlohmann::json::parse(text);
        if (json.at("format") != format_name) throw Error("another format");
        if (json.at("machine") != machine_) return;
        for (const auto& [call, choice] : json.at("choices").items()) {
            if (!valid(choice.get<std::string>())) throw Error("unknown choice " + choice.dump());
            choices_[call] = choice.get<std::string>();
        }
    } catch (const std::exception& error) {
        throw Error(fmt::format("{}: not a plan file of this program ({}); delete it or name another", path_, error.what()));
    }
}

std::optional<std::string> PlanFile::find(const std::string& call) const {
    const auto entry = choices_.find(call);
    return entry == choices_.end() ? std::nullopt : std::optional(entry->second);
}

void PlanFile::remember(const std::string& call, const std::string& choice) {
    choices_[call] = choice;
    if (path_.empty()) return;
    nlohmann::ordered_json json{{"format", format_name}, {"machine", machine_}};
    auto& choices = json["choices"] = nlohmann::ordered_json::object();
    for (const auto& [key, value] : choices_) choices[key] = value;
    write_file_atomically(path_, json.dump(2) + "\n");
}

}  // namespace mlkd
