#pragma once
// Signals that ask the program to end: SIGINT (Ctrl-C), SIGTERM, SIGHUP (the terminal is gone), SIGUSR1 and SIGUSR2 (batch
// systems send one of them ahead of a time limit). The exit code is then 128 + the signal's number, as shells count.
//   const SignalWatch watch(OnSignal::note);
//   while (noted_signal() == 0) step();
#include <signal.h>

#include <array>

#include "engine/error.h"

namespace mlkd {

enum class OnSignal {
    end,   // ends the program at once: there is nothing to save
    note,  // remembers the signal, for noted_signal(); a second one ends the program at once
};

// Decides what these signals do while it lives. Watches nest: the inner one decides. A signal that is ignored (nohup) stays so.
class SignalWatch {
public:
    explicit SignalWatch(OnSignal action);
    ~SignalWatch();
    SignalWatch(const SignalWatch&) = delete;
    SignalWatch& operator=(const SignalWatch&) = delete;

private:
    std::array<struct sigaction, 5> before_;
};

// What a piece of work throws that ends early because a signal was noted.
class Stopped : public Error {
public:
    explicit Stopped(int signal);
};

int noted_signal();        // 0: none
void stop_if_signalled();  // throws Stopped where a signal was noted
ExitCode exit_code_after(int signal);

}  // namespace mlkd
