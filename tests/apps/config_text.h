#pragma once
// Configurations as text, and what is said of those that are refused.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "apps/config/config.h"
#include "engine/error.h"
#include "tests/support/temporary_folder.h"

namespace mlkd::test {

// The message about a file of this text, its path shortened to FILE.
inline std::string failure(const std::string& text, const std::vector<std::string>& overrides = {}) {
    const TemporaryFolder folder;
    const std::string path = folder / "config.json";
    write_bytes(path, text);
    try {
        load_config(path, overrides);
    } catch (const UsageError& error) {
        CHECK(error.code() == ExitCode::usage);
        std::string message = error.what();
        CHECK(message.size() < path.size() + 300);
        if (message.starts_with(path)) message.replace(0, path.size(), "FILE");
        return message;
    }
    return "no failure";
}

inline std::string failure_of(const std::string& override) { return failure("{}", {override}); }

inline Config loaded(const std::string& text, const std::vector<std::string>& overrides = {}) {
    const TemporaryFolder folder;
    write_bytes(folder / "config.json", text);
    return load_config(folder / "config.json", overrides);
}

}  // namespace mlkd::test
