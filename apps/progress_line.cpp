#include "apps/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace mlkd {

ProgressLine::ProgressLine() : visible_(isatty(STDOUT_FILENO) == 1) {}

void ProgressLine::show(const std::string& text) {
    if (!visible_) return;
    winsize window{};
    const std::size_t width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1u : 119u;
    fmt::print("\r\x1b[K{}", text.substr(0, width));
    std::fflush(stdout);
    shown_ = true;
}

void ProgressLine::clear() {
    if (!shown_) return;
    fmt::print("\r\x1b[K");
    std::fflush(stdout);
    shown_ = false;
}

std::string clock_text(double seconds) {
    const auto total = static_cast<long>(std::lround(std::fmax(seconds, 0.0)));
    if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
    return fmt::format("{:02}:{:02}", total / 60, total % 60);
}

}  // namespace mlkd
