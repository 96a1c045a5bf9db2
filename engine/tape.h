#pragma once
// Reverse-mode differentiation. The tape is the list of operations in order of creation; backward() walks it in
// reverse. No graph search: whoever records an operation knows its inputs' gradients. The first touch of a gradient in
// a step overwrites it, later touches add.
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"

namespace mlkd {

// dL/dvalue of one variable. `tensor` is empty until the first touch of an activation's gradient; a parameter's
// gradient has persistent memory.
struct Gradient {
    Tensor tensor;
    bool touched = false;
};

// A value and where its gradient goes; no gradient: nullptr.
struct Variable {
    Tensor value;
    Gradient* gradient = nullptr;
};

class Tape {
public:
    Tape(Backend& backend, StepArena& arena) : backend_(backend), arena_(arena) {}

    // Forgets the last step. Call after arena.begin().
    void reset();
    // A variable of this step; its gradient is allocated on first touch.
    Variable variable(const Tensor& value);
    // Appends an operation. `backward` runs once, after everything recorded later.
    void record(std::string_view name, std::function<void()> backward);
    // Runs every recorded operation in reverse. The seeds must have been written: see target().
    void backward();

    // Where an operation's backward writes dL/dx: write(out) must overwrite `out`; when the gradient has been touched
    // before, out is a temporary that is then added to it.
    void contribute(Gradient& gradient, const Tensor& like, std::string_view name, const std::function<void(const Tensor& out)>& write);
    // The same for an operation that can add by itself: write(out, false) must overwrite `out`, write(out, true) add to it.
    void accumulate(Gradient& gradient, const Tensor& like, std::string_view name,
                    const std::function<void(const Tensor& out, bool add)>& write);
    // Gives a finished tensor to a gradient: the first touch takes the tensor itself, without a copy, so nobody may
    // use its content after `gradient` has been touched again; a later touch adds it.
    void contribute(Gradient& gradient, const Tensor& finished);

private:
    void allocate(Gradient& gradient, const Tensor& like, std::string_view name);

    struct Node {
        std::string name;
        std::function<void()> backward;
    };
    Backend& backend_;
    StepArena& arena_;
    std::vector<Node> nodes_;
    std::deque<Gradient> gradients_;  // a deque keeps addresses
};

}  // namespace mlkd
