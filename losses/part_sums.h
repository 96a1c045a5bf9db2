#pragma once
// The parts of a loss from its values for each row.
#include <initializer_list>

#include "losses/method.h"

namespace mlkd {

// factor · number · Σ values.
struct PartSum {
    const float* values = nullptr;
    std::int64_t count = 0;
    double factor = 0;
    const float* number = nullptr;  // on the device; nullptr: 1
};

// Writes call.losses: the sums, one for each of the method's parts, and their total. In double and in fixed order, in one launch.
void sum_parts(const LossCall& call, std::initializer_list<PartSum> parts);

}  // namespace mlkd
