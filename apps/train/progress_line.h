#pragma once
// One line on a terminal that is written over as training goes on; nothing where standard output is no terminal or TERM=dumb.
#include <cstddef>
#include <string>

namespace mlkd {

class ProgressLine {
public:
    ProgressLine();
    ~ProgressLine() { clear(); }  // so that an error's line stands alone
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    bool visible() const { return visible_; }
    void show(const std::string& text);
    void clear();

private:
    bool visible_;
    std::size_t shown_ = 0;  // columns on the screen
};

// "1:02:03" or "02:03" of seconds.
std::string clock_text(double seconds);

}  // namespace mlkd
