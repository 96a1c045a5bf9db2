#pragma once
// Standard output and standard error. Streams that are closed or full never end a command in the middle: a lost result is found
// at the end, by finish_output(), and a training goes on. Text from outside goes through shown() first.
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "engine/error.h"

namespace mlkd {

// To be called first. A stream that is closed would hand its number to the next file that is opened, and output would end up in
// that file: /dev/null takes its place, opened so that writing fails.
void open_standard_streams();

// Onto standard output, unbuffered.
void print_text(std::string_view text);
template <class... T> void print(fmt::format_string<T...> format, T&&... arguments) {
    print_text(fmt::format(format, std::forward<T>(arguments)...));
}

// "mlkd: MESSAGE" as one line of standard error, escaped by shown(). Where that cannot be written there is nobody to tell.
void print_error(std::string_view message);

// From now on the command goes on where standard output is lost, also where its reader has gone (SIGPIPE); at that moment
// `note` is printed on standard error.
void make_output_optional(const std::string& note);

// The exit code of a command that ended with `code`: a run-time error, and a line on standard error, where its output was needed
// and has not been written.
ExitCode finish_output(ExitCode code);

}  // namespace mlkd
