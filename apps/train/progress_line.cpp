#include "apps/train/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <string_view>

#include "apps/output.h"

namespace mlkd {

namespace {

// A terminal that can return to the start of a line; TERM=dumb says that it cannot.
bool is_terminal() {
    const char* kind = std::getenv("TERM");
    return isatty(STDOUT_FILENO) == 1 && kind != nullptr && *kind != '\0' && std::string_view(kind) != "dumb";
}

}  // namespace

ProgressLine::ProgressLine() : visible_(is_terminal()) {}

// Written over with spaces: no escape codes, which NO_COLOR and the dumbest terminals forbid.
void ProgressLine::show(const std::string& text) {
    if (!visible_) return;
    winsize window{};
    const std::size_t width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1u : 119u;
    const std::string line = text.substr(0, width);
    print("\r{:<{}}", line, shown_);
    shown_ = line.size();
}

void ProgressLine::clear() {
    if (shown_ == 0) return;
    print("\r{:{}}\r", "", shown_);
    shown_ = 0;
}

std::string clock_text(double seconds) {
    const auto total = static_cast<long>(std::lround(std::fmax(seconds, 0.0)));
    if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
    return fmt::format("{:02}:{:02}", total / 60, total % 60);
}

}  // namespace mlkd
