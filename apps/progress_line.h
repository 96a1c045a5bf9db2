#pragma once
// One line on a terminal that is written over as training goes on; nothing where standard output is no terminal.
#include <string>

namespace mlkd {

class ProgressLine {
public:
    ProgressLine();
    bool visible() const { return visible_; }
    void show(const std::string& text);
    void clear();

private:
    bool visible_;
    bool shown_ = false;
};

// "1:02:03" or "02:03" of seconds.
std::string clock_text(double seconds);

}  // namespace mlkd
