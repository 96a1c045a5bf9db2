#pragma once
// Sums of an epoch's losses, kept on the device so that no step waits for the host, with a note of the first loss that
// was not finite.
#include <cstdint>

#include "engine/arena.h"
#include "engine/backend.h"

namespace mlkd {

class LossMeter {
public:
    static constexpr int parts = 5;  // LossPart

    struct Reading {
        double sums[parts] = {};  // of loss · samples
        double samples = 0;
        double steps = 0;
        double bad_step = -1;  // the first step, counted from 0 since reset(), with a loss that is not finite
        double bad_part = -1;  // its first such part
    };

    LossMeter(Backend& backend, PersistentArena& memory);

    void reset();
    // Adds losses (5) f32 of one step over `samples` samples.
    void add(const Tensor& losses, std::int64_t samples);
    // Waits for the device.
    Reading read() const;
    void restore(const Reading& reading);

private:
    Backend& backend_;
    Tensor state_;  // f64: a Reading, field by field
};

}  // namespace mlkd
