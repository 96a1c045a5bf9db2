#pragma once
// Every failure that a user can cause or meet is one of these; main() turns it into one line and an exit code.
#include <stdexcept>
#include <string>

namespace mlkd {

// Or 128 + the number of a signal, see apps/signals.h.
enum class ExitCode { done = 0, runtime_error = 1, usage = 2, non_finite = 3 };

// A run-time failure: what, where, what to do, in one line.
class Error : public std::runtime_error {
public:
    explicit Error(const std::string& message, ExitCode code = ExitCode::runtime_error)
        : std::runtime_error(message), code_(code) {}
    ExitCode code() const { return code_; }

private:
    ExitCode code_;
};

// Bad usage or configuration: an unknown key, a wrong type, an impossible value.
class UsageError : public Error {
public:
    explicit UsageError(const std::string& message) : Error(message, ExitCode::usage) {}
};

// Broken promise inside the program: names the expression and its place.
[[noreturn]] void fail_check(const char* expression, const char* file, int line, const std::string& message);

}  // namespace mlkd

// A macro, as only a macro knows the text and the place of its argument.
#define MLKD_CHECK(condition, message) \
    (static_cast<bool>(condition) ? static_cast<void>(0) : ::mlkd::fail_check(#condition, __FILE__, __LINE__, message))
