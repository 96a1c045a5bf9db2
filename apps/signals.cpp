#include "apps/signals.h"

namespace mlkd {
namespace {

// A handler can reach nothing but static storage.
volatile std::sig_atomic_t noted_signal = 0;

void note(int signal) { noted_signal = signal; }

}  // namespace

SignalWatch::SignalWatch() {
    noted_signal = 0;
    struct sigaction action {};
    action.sa_handler = note;
    // Restarting calls: a write to a full pipe must not fail for it.
    action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
    sigaction(SIGINT, &action, &old_interrupt_);
    sigaction(SIGTERM, &action, &old_terminate_);
}

SignalWatch::~SignalWatch() {
    sigaction(SIGINT, &old_interrupt_, nullptr);
    sigaction(SIGTERM, &old_terminate_, nullptr);
}

int SignalWatch::received() const { return noted_signal; }

}  // namespace mlkd
