#include "apps/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

// Of standard output, of which a process has one.
struct OutputState {
    int reason = 0;  // errno of the last write that failed
    bool optional = false;
    std::string note;
};

OutputState& state() {
    static OutputState state;
    return state;
}

// Unbuffered, so that a failure is known at once and nothing is written twice.
bool write_all(int descriptor, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

}  // namespace

void open_standard_streams() {
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(descriptor, F_GETFD) < 0) ::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

void print_text(std::string_view text) {
    if (write_all(STDOUT_FILENO, text)) return;
    const int reason = errno;
    if (std::exchange(state().reason, reason) == 0 && state().optional)
        print_error(fmt::format("standard output: cannot write: {}; {}", std::strerror(reason), state().note));
}

void print_error(std::string_view message) { write_all(STDERR_FILENO, fmt::format("mlkd: {}\n", shown(message))); }

void make_output_optional(const std::string& note) {
    std::signal(SIGPIPE, SIG_IGN);
    state().optional = true;
    state().note = note;
}

ExitCode finish_output(ExitCode code) {
    if (state().reason == 0 || state().optional) return code;
    print_error(fmt::format("standard output: cannot write: {}", std::strerror(state().reason)));
    return code == ExitCode::done ? ExitCode::runtime_error : code;
}

}  // namespace mlkd
