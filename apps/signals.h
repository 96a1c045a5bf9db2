#pragma once
// Ctrl-C and SIGTERM as a request that a loop looks at between steps.
#include <csignal>

namespace mlkd {

// While it lives, SIGINT and SIGTERM are noted instead of ending the program; a second one ends it at once.
class SignalWatch {
public:
    SignalWatch();
    ~SignalWatch();
    SignalWatch(const SignalWatch&) = delete;
    SignalWatch& operator=(const SignalWatch&) = delete;

    int received() const;  // SIGINT, SIGTERM, or 0

private:
    struct sigaction old_interrupt_, old_terminate_;
};

}  // namespace mlkd
