#include "apps/config/config_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>

#include "engine/error.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

using nlohmann::json;

constexpr std::size_t max_file_bytes = 1 << 20;

// A regular file or a pipe.
std::string read_text(const std::string& path) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) throw UsageError(path + ": it is a folder, not a configuration file");
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) throw UsageError(path + ": cannot read the configuration: " + std::strerror(errno));
    std::string text(max_file_bytes + 1, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), file.get()));
    if (std::ferror(file.get())) throw UsageError(path + ": cannot read the configuration: " + std::strerror(errno));
    if (text.size() > max_file_bytes) throw UsageError(path + ": too large for a configuration (at most 1 MiB)");
    return text;
}

std::string line_and_column(std::string_view text, std::size_t byte) {
    const std::string_view before = text.substr(0, std::min(byte, text.size()));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t newline = before.rfind('\n');
    return fmt::format("{}:{}", line, before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1);
}

// Copying or printing a value recurses as deep as it is nested.
constexpr int max_depth = 16;

bool shallow(int depth, json::parse_event_t, json&) {
    if (depth > max_depth) throw UsageError("nested too deeply");
    return true;
}

json parse(const std::string& path, const std::string& text) {
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) throw UsageError(path + ": the configuration is empty");
    try {
        return json::parse(text, shallow, true, true);
    } catch (const UsageError& error) {
        throw UsageError(path + ": " + error.what());
    } catch (const json::parse_error& error) {
        // The parser's words begin after its own account of the place.
        const std::string what = error.what();
        const std::size_t words = what.find("syntax error ");
        const std::string reason = words == std::string::npos ? "not JSON" : what.substr(words, 200);
        throw UsageError(fmt::format("{}:{}: {}", path, line_and_column(text, error.byte == 0 ? 0 : error.byte - 1), reason));
    } catch (const json::out_of_range&) {
        throw UsageError(path + ": a number is too large");
    }
}

// The line of every key of a text that is known to be JSON with comments, in order of appearance.
class KeyLines {
public:
    explicit KeyLines(std::string_view text) : text_(text) {
        while (at_ < text_.size()) step();
    }
    // Lines of all occurrences of a key, dotted.
    const std::vector<int>& of(const std::string& key) const {
        static const std::vector<int> none;
        const auto found = lines_.find(key);
        return found == lines_.end() ? none : found->second;
    }

private:
    void step() {
        const char c = text_[at_];
        if (c == '"') {
            last_string_ = string();
            string_line_ = line_;
            return;
        }
        if (c == '/') return skip_comment();
        if (c == '\n') ++line_;
        if (c == ':') {
            if (names_.empty()) names_.emplace_back();
            names_.back() = last_string_;
            lines_[joined()].push_back(string_line_);
        }
        if (c == '{' || c == '[') names_.emplace_back();
        if ((c == '}' || c == ']') && !names_.empty()) names_.pop_back();
        ++at_;
    }
    std::string string() {
        const std::size_t start = at_++;
        while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
        ++at_;
        return json::parse(text_.substr(start, at_ - start)).get<std::string>();
    }
    void skip_comment() {
        const std::string_view end = text_.substr(at_, 2) == "//" ? "\n" : "*/";
        const std::size_t found = text_.find(end, at_ + 2);
        const std::size_t stop = found == std::string_view::npos ? text_.size() : found + (end == "\n" ? 0 : 2);
        line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                             text_.begin() + static_cast<std::ptrdiff_t>(stop), '\n'));
        at_ = stop;
    }
    std::string joined() const {
        std::string out;
        for (const std::string& name : names_) out += (out.empty() ? "" : ".") + name;
        return out;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    int line_ = 1, string_line_ = 1;
    std::string last_string_;
    std::vector<std::string> names_;  // of the containers that are open
    std::map<std::string, std::vector<int>> lines_;
};

class Flattener {
public:
    Flattener(const std::string& path, const KeyLines& lines, const KeyKindOf& kind_of) : path_(path), lines_(lines), kind_of_(kind_of) {}

    std::vector<Setting> run(const json& root) {
        if (!root.is_object()) throw UsageError(path_ + ": expected an object {...}, got " + describe(root));
        visit(root, "");
        return std::move(settings_);
    }

private:
    // Descends into known sections only: no deeper than they are nested, whatever the file holds.
    void visit(const json& object, const std::string& prefix) {
        for (const auto& [name, value] : object.items()) {
            const std::string key = prefix + name;
            const std::vector<int>& lines = lines_.of(key);
            const std::string place = lines.empty() ? path_ : fmt::format("{}:{}", path_, lines.back());
            if (lines.size() > 1) throw UsageError(fmt::format("{}: {}: occurs twice, first in line {}", place, key, lines.front()));
            if (kind_of_(key) == KeyKind::section) {
                if (!value.is_object())
                    throw UsageError(fmt::format("{}: {}: expected a section {{...}}, got {}", place, key, describe(value)));
                visit(value, key + ".");
            } else {
                settings_.push_back({key, value, place, ""});
            }
        }
    }

    const std::string& path_;
    const KeyLines& lines_;
    const KeyKindOf& kind_of_;
    std::vector<Setting> settings_;
};

}  // namespace

std::vector<Setting> settings_of_file(const std::string& path, const KeyKindOf& kind_of) {
    const std::string text = read_text(path);
    const json root = parse(path, text);
    const KeyLines lines(text);
    return Flattener(path, lines, kind_of).run(root);
}

Setting setting_of_argument(const std::string& argument) {
    const std::size_t equals = argument.find('=');
    std::error_code ignored;
    if (equals == std::string::npos && std::filesystem::exists(argument, ignored))
        throw UsageError(fmt::format("command line: {} is a {}", in_quotes(argument),
                                     std::filesystem::is_directory(argument, ignored)
                                         ? "folder; data are named by --data, a run's folder by --output"
                                         : "file; a configuration is named by --config"));
    if (equals == std::string::npos || equals == 0)
        throw UsageError("command line: " + in_quotes(argument) + ": expected key=value, such as solver.lr=0.1");
    const std::string text = argument.substr(equals + 1);
    if (text.empty())
        throw UsageError(fmt::format("command line: {} has no value; the empty text is written '{}\"\"'", in_quotes(argument), argument));
    json value = json(text);
    try {
        value = json::parse(text, shallow);
    } catch (const json::exception&) {  // not JSON: taken as text
    } catch (const UsageError& error) {
        throw UsageError(fmt::format("command line: {}: {}", in_quotes(argument.substr(0, equals)), error.what()));
    }
    return {argument.substr(0, equals), value, "command line", text};
}

std::vector<Setting> settings_of_arguments(const std::vector<std::string>& arguments) {
    std::vector<Setting> settings;
    for (const std::string& argument : arguments) {
        const Setting setting = setting_of_argument(argument);
        for (const Setting& earlier : settings)
            if (earlier.key == setting.key && earlier.value != setting.value)
                throw UsageError(fmt::format("command line: {} and {} contradict each other; give one of them",
                                             in_quotes(earlier.key + "=" + earlier.text), in_quotes(argument)));
        settings.push_back(setting);
    }
    return settings;
}

std::string describe(const json& value) {
    if (value.is_string()) return "text " + in_quotes(value.get<std::string>());
    std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    switch (value.type()) {
        case json::value_t::null:
        case json::value_t::boolean: return text;
        case json::value_t::array: return "list " + text;
        case json::value_t::object: return "object " + text;
        default: return "number " + text;
    }
}

}  // namespace mlkd
