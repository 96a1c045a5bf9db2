#pragma once
// Sums of an epoch's losses, kept on the device so that no step waits for the host, with a note of the first loss that
// was not finite.
#include <cstdint>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/kernels/device_code.h"

namespace mlkd {

struct AddLosses;

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
    // What adds losses (5) f32 of one step over `samples` samples: a piece of the launch that counts a batch (accuracy.h).
    AddLosses adding(const Tensor& losses, std::int64_t samples) const;
    // Waits for the device.
    Reading read() const;
    void restore(const Reading& reading);

private:
    Backend& backend_;
    Tensor state_;  // f64: a Reading, field by field
};

// For one member of a team. Without a meter it does nothing.
struct AddLosses {
    LossMeter::Reading* state = nullptr;
    const float* losses = nullptr;  // (5)
    double samples = 0;

    MLKD_HD void operator()() const {
        if (state == nullptr) return;
        LossMeter::Reading now = *state;  // read as a whole: value by value, each one would be waited for
        float values[LossMeter::parts];
        for (int part = 0; part < LossMeter::parts; ++part) values[part] = losses[part];
        for (int part = 0; part < LossMeter::parts; ++part) {
            const double loss = values[part];
            now.sums[part] += loss * samples;
            if (now.bad_step < 0 && !(loss - loss == 0.0)) {  // infinite or not a number
                now.bad_step = now.steps;
                now.bad_part = part;
            }
        }
        now.samples += samples;
        now.steps += 1;
        *state = now;
    }
};

}  // namespace mlkd
