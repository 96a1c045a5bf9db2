#include "apps/figures/gnuplot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "apps/signals.h"
#include "engine/error.h"

extern char** environ;

namespace mlkd {
namespace {

class SpawnActions {
public:
    SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
    ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
    SpawnActions(const SpawnActions&) = delete;
    SpawnActions& operator=(const SpawnActions&) = delete;
    posix_spawn_file_actions_t* get() { return &actions_; }

private:
    posix_spawn_file_actions_t actions_;
};

// All that is written into a pipe until its other end closes, or a signal is noted.
std::string read_all(int descriptor) {
    constexpr int look_again_ms = 50;
    std::string out;
    std::array<char, 4096> buffer;
    while (noted_signal() == 0) {
        pollfd end{descriptor, POLLIN, 0};
        if (::poll(&end, 1, look_again_ms) <= 0) continue;
        const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return out;
        out.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return out;
}

// gnuplot shows the line, a caret under the place, then "file" line N: what is wrong; the last says most.
std::string last_line(const std::string& text) {
    const std::size_t end = text.find_last_not_of(" \n\r\t");
    if (end == std::string::npos) return "without a message";
    const std::size_t newline = text.rfind('\n', end);
    const std::size_t start = text.find_first_not_of(" \t", newline == std::string::npos ? 0 : newline + 1);
    return text.substr(start, end + 1 - start);
}

}  // namespace

bool is_installed(const std::string& program) {
    if (program.find('/') != std::string::npos) return ::access(program.c_str(), X_OK) == 0;
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "/bin:/usr/bin" : path);
    for (std::string folder; std::getline(folders, folder, ':');)
        if (::access(((folder.empty() ? "." : folder) + "/" + program).c_str(), X_OK) == 0) return true;
    return false;
}

Drawn run_gnuplot(const std::string& program, const std::string& folder, const std::string& script, const std::string& suffix) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(fmt::format("{}: {}", program, std::strerror(errno)));
    SpawnActions actions;
    ::posix_spawn_file_actions_addchdir_np(actions.get(), folder.c_str());
    ::posix_spawn_file_actions_addopen(actions.get(), 0, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(actions.get(), 1, "/dev/null", O_WRONLY, 0);
    ::posix_spawn_file_actions_adddup2(actions.get(), ends[1], 2);
    const std::string variable = "suffix='" + suffix + "'";
    std::array<const char*, 6> arguments = {program.c_str(), "-d", "-e", variable.c_str(), script.c_str(), nullptr};
    pid_t child = 0;
    const int reason = ::posix_spawnp(&child, program.c_str(), actions.get(), nullptr, const_cast<char**>(arguments.data()), environ);
    ::close(ends[1]);
    const std::string complaint = reason == 0 ? read_all(ends[0]) : "";
    ::close(ends[0]);
    if (reason == ENOENT) return Drawn::no_gnuplot;
    if (reason != 0) throw Error(fmt::format("{}: cannot be run: {}", program, std::strerror(reason)));

    if (noted_signal() != 0) ::kill(child, SIGTERM);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    stop_if_signalled();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw Error(fmt::format("{} failed on {}/{}: {}", program, folder, script, last_line(complaint)));
    return Drawn::yes;
}

}  // namespace mlkd
