#include "apps/signals.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace mlkd {
namespace {

constexpr std::array signals{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

// timeout(1) and batch systems signal a process and then its group: the same signal twice is one request within this time.
constexpr std::int64_t same_request_ns = 200'000'000;

// A handler can reach nothing but static storage. Any thread may run it.
std::atomic<int> noted = 0;
std::atomic<std::int64_t> noted_at = 0;
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free);

std::int64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void end(int signal) { _exit(128 + signal); }

void note(int signal) {
    const std::int64_t now = now_ns();
    std::int64_t first = 0;
    if (noted_at.compare_exchange_strong(first, now)) {
        noted = signal;
        return;
    }
    const int earlier = noted;  // still 0 where another thread has only just taken the time
    if ((earlier != 0 && earlier != signal) || now - first > same_request_ns) end(signal);
}

}  // namespace

SignalWatch::SignalWatch(OnSignal action) {
    noted = 0;
    noted_at = 0;
    struct sigaction handler {};
    handler.sa_handler = action == OnSignal::end ? end : note;
    sigfillset(&handler.sa_mask);
    handler.sa_flags = SA_RESTART;  // a write to a full pipe must not fail for it
    for (std::size_t i = 0; i < signals.size(); ++i) {
        sigaction(signals[i], nullptr, &before_[i]);
        if (before_[i].sa_handler != SIG_IGN) sigaction(signals[i], &handler, nullptr);
    }
}

SignalWatch::~SignalWatch() {
    for (std::size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before_[i], nullptr);
}

Stopped::Stopped(int signal) : Error(std::string("stopped by SIG") + sigabbrev_np(signal), exit_code_after(signal)) {}

int noted_signal() { return noted; }

void stop_if_signalled() {
    if (const int signal = noted_signal(); signal != 0) throw Stopped(signal);
}

ExitCode exit_code_after(int signal) { return static_cast<ExitCode>(128 + signal); }

}  // namespace mlkd
