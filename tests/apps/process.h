#pragma once
// Runs the program as a user does: a process of its own, with its output, its exit code, and signals at chosen moments.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace mlkd::test {

struct Outcome {
    int exit_code = -1;  // -1 where a signal ended it
    int signal = 0;      // that signal
    std::string out, err;
    std::int64_t peak_bytes = 0;  // of resident memory
};

class Process {
public:
    // Starts arguments[0], looked up in PATH. Standard input is empty; output goes to files of this object, so standard
    // output is no terminal.
    explicit Process(const std::vector<std::string>& arguments) {
        std::vector<char*> argv;
        for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        const std::string out = out_file(), err = err_file();
        // A spinning team of threads would take the cores from whatever else runs here.
        ::setenv("OMP_WAIT_POLICY", "passive", 1);
        id_ = ::fork();
        if (id_ < 0) throw std::runtime_error("cannot fork");
        if (id_ > 0) return;
        // A shell that runs the tests in the background ignores SIGINT, nohup SIGHUP: not the business of these processes.
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) ::signal(signal, SIG_DFL);
        redirect("/dev/null", O_RDONLY, STDIN_FILENO);
        redirect(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
        redirect(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
        ::execvp(argv[0], argv.data());
        ::_exit(127);
    }
    ~Process() {
        if (ended()) return;
        send(SIGKILL);
        ::wait4(id_, &status_, 0, &usage_);
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    // Whether the program has set its handlers by now: one for SIGUSR1, which the tests' own process has not.
    bool watches_signals() const {
        const std::string status = read_bytes("/proc/" + std::to_string(id_) + "/status"), mark = "SigCgt:";
        const std::size_t found = status.find(mark);
        return found != std::string::npos && (std::stoull(status.substr(found + mark.size()), nullptr, 16) >> (SIGUSR1 - 1) & 1) != 0;
    }

    void send(int signal) const { ::kill(id_, signal); }

    bool ended() {
        if (!reaped_) reaped_ = ::wait4(id_, &status_, WNOHANG, &usage_) == id_;
        return reaped_;
    }

    // Whether `condition` came true before the process ended. Throws after `limit` seconds.
    bool wait_until(const std::function<bool()>& condition, double limit = 120) {
        const auto start = std::chrono::steady_clock::now();
        for (;;) {
            const bool over = ended();
            if (condition()) return true;
            if (over) return false;
            if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > limit) {
                send(SIGQUIT);
                throw std::runtime_error("a process takes too long; it said:\n" + read_bytes(out_file()) + read_bytes(err_file()));
            }
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }
    bool wait_for_output(const std::string& text) {
        return wait_until([&] { return std::filesystem::exists(out_file()) && read_bytes(out_file()).find(text) != std::string::npos; });
    }

    Outcome wait() {
        wait_until([] { return false; });
        Outcome outcome;
        if (WIFEXITED(status_)) outcome.exit_code = WEXITSTATUS(status_);
        if (WIFSIGNALED(status_)) outcome.signal = WTERMSIG(status_);
        outcome.peak_bytes = usage_.ru_maxrss * 1024;
        outcome.out = read_bytes(out_file());
        outcome.err = read_bytes(err_file());
        return outcome;
    }

private:
    std::string out_file() const { return folder_ / "out"; }
    std::string err_file() const { return folder_ / "err"; }
    static void redirect(const char* path, int flags, int descriptor) {
        const int opened = ::open(path, flags, 0600);
        if (opened < 0 || ::dup2(opened, descriptor) < 0) ::_exit(126);
        ::close(opened);
    }

    TemporaryFolder folder_;
    pid_t id_ = -1;
    int status_ = 0;
    rusage usage_{};
    bool reaped_ = false;
};

inline std::vector<std::string> command(const std::vector<std::string>& arguments) {
    std::vector<std::string> all{MLKD_BINARY};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
}

// mlkd with these arguments, to its end.
inline Outcome run_mlkd(const std::vector<std::string>& arguments) { return Process(command(arguments)).wait(); }

}  // namespace mlkd::test
