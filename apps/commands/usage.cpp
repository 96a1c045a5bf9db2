#include "apps/commands/usage.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "apps/config/config.h"
#include "engine/error.h"
#include "engine/text/nearest.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

std::string refuse_empty(std::string& value) { return value.empty() ? "is empty; give it a value, or leave it out" : ""; }

// Rewrites 64.0 and 1e1 as 64 and 10. Whatever else stays for CLI11 to judge.
std::string write_as_integer(std::string& value) {
    double number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc() && end == value.data() + value.size() && number == std::trunc(number) && std::abs(number) < 0x1p53)
        value = fmt::format("{:.0f}", number);
    return {};
}

std::vector<std::string> command_names(const CLI::App& app) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(command->get_name());
    return names;
}

std::vector<std::string> option_names(const CLI::App& command) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command.get_options())
        for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    return names;
}

// "--epochs 3" where solver.epochs=3 is meant, or a misspelt option; "" where every option is known.
std::string about_options(const CLI::App& command, const std::vector<std::string>& arguments) {
    const std::vector<std::string> known = option_names(command);
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::size_t equals = arguments[i].find('=');
        const std::string option = arguments[i].substr(0, equals);
        if (option.size() < 3 || !option.starts_with("--") || std::ranges::find(known, option) != known.end()) continue;
        const std::string meant = nearest(option, known);
        std::string part = option.substr(2);
        std::ranges::replace(part, '-', '_');
        const std::string key = command.get_name() == "train" ? key_ending_in(part) : "";
        if (key.empty() || !meant.empty())
            return fmt::format("unknown option {}{}", in_quotes(option), meant.empty() ? "" : fmt::format("; did you mean {}?", meant));
        const bool separate = equals == std::string::npos && i + 1 < arguments.size() && !arguments[i + 1].starts_with("--");
        const std::string value = equals != std::string::npos ? arguments[i].substr(equals + 1) : separate ? arguments[i + 1] : "VALUE";
        return fmt::format("unknown option {}; it is a key of the configuration: {}", in_quotes(option), in_quotes(key + "=" + value));
    }
    return {};
}

}  // namespace

std::vector<std::string> plain_arguments(int argc, const char* const* argv) {
    std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    for (const std::string& argument : arguments)
        if (argument.size() > 3 && argument.starts_with("--") && argument.find('=') == argument.size() - 1)
            throw UsageError(fmt::format("{} is empty; give it a value, or leave it out", in_quotes(argument)));
    if (arguments.empty() || arguments[0] != "help") return arguments;
    arguments.erase(arguments.begin());
    if (arguments.size() > 1) arguments.resize(1);  // of the command alone
    arguments.emplace_back("--help");
    return arguments;
}

void check_values(CLI::App& app) {
    for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
        for (CLI::Option* option : command->get_options()) {
            if (option->get_items_expected_max() == 0 || option->get_positional()) continue;
            const std::string type = option->get_type_name();
            if (type.starts_with("INT") || type.starts_with("UINT")) option->transform(CLI::Validator(write_as_integer, ""));
            option->check(CLI::Validator(refuse_empty, ""));
        }
}

std::string usage_message(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& arguments) {
    const std::string see = " (see mlkd --help)";
    if (!arguments.empty() && !arguments[0].starts_with('-')) {
        const std::vector<std::string> commands = command_names(app);
        if (std::ranges::find(commands, arguments[0]) == commands.end())
            return fmt::format("unknown command '{}'{}", arguments[0], did_you_mean(arguments[0], commands, "'")) + see;
        const CLI::App& command = *app.get_subcommand(arguments[0]);
        if (std::string message = about_options(command, arguments); !message.empty()) return message + see;
        std::error_code ignored;
        const bool takes_checkpoint = command.get_option_no_throw("--checkpoint") != nullptr;
        for (std::size_t i = 1; takes_checkpoint && i < arguments.size(); ++i)
            if (!arguments[i - 1].starts_with('-') && !arguments[i].starts_with('-') &&
                std::filesystem::is_regular_file(arguments[i], ignored))
                return fmt::format("{} is a file; a checkpoint is named by --checkpoint", in_quotes(arguments[i])) + see;
    }
    return error.what() + see;
}

}  // namespace mlkd
