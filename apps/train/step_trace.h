#pragma once
// One training step, watched: every operation with its shape, the norm of what it made, and its time.
#include <chrono>
#include <string>
#include <vector>

#include "layers/network.h"

namespace mlkd {

class StepTrace {
public:
    // Watches both networks until it goes. teacher: nullptr where there is none.
    StepTrace(Backend& backend, Network& student, Network* teacher);
    ~StepTrace();
    StepTrace(const StepTrace&) = delete;
    StepTrace& operator=(const StepTrace&) = delete;

    // The step so far, a line each: forward, losses, backward, and the rest. Times are of operations that wait for each other.
    std::string table();

private:
    struct Row {
        std::string pass, name, kind, shape;
        double norm;  // of the result, or of its gradient; below 0: of nothing
        double microseconds;
    };
    void note(const std::string& pass, const Plan::Step* step, bool backward);
    double lap();  // microseconds since the last one, the device being done
    double norm(const Tensor& tensor) const;

    Backend& backend_;
    Network& student_;
    Network* teacher_;
    std::chrono::steady_clock::time_point start_;
    std::vector<Row> rows_;
};

}  // namespace mlkd
