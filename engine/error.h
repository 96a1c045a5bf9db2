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

// A broken promise inside the program. Users may see the message, so it holds no source text.
[[noreturn]] void fail_check(const std::string& message);

}  // namespace mlkd

// A macro, as a function would make the message also where the condition holds, in every step.
#define MLKD_CHECK(condition, message) (static_cast<bool>(condition) ? static_cast<void>(0) : ::mlkd::fail_check(message))
