#pragma once
// Sums of an epoch's losses, kept on the device so that no step waits for the host, with a note of the first loss that
// was not finite.
#include <cstdint>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/kernels/device_code.h"

namespace mlkd {

struct AddLosses;

class LossMeter {
public:
    static constexpr int most_parts = 8;

    struct Reading {
        std::vector<double> sums;  // of loss · samples, a part each
        double samples = 0;
        double steps = 0;
        double bad_step = -1;  // the first step, counted from 0 since reset(), with a loss that is not finite
        double bad_part = -1;  // its first such part
    };

    // parts: of the losses, with their total; at most most_parts.
    LossMeter(Backend& backend, PersistentArena& memory, int parts);

    void reset();
    // What adds losses (parts) f32 of one step over `samples` samples: a piece of the launch that counts a batch (accuracy.h).
    AddLosses adding(const Tensor& losses, std::int64_t samples) const;
    // Waits for the device.
    Reading read() const;
    void restore(const Reading& reading);

private:
    Backend& backend_;
    int parts_;
    Tensor state_;  // f64: see AddLosses
};

// For one member of a team. Without a meter it does nothing.
struct AddLosses {
    enum Place { samples_place, steps_place, bad_step_place, bad_part_place, sums_place };
    double* state = nullptr;        // (4 + parts): samples, steps, bad step, bad part, sums
    const float* losses = nullptr;  // (parts)
    double samples = 0;
    int parts = 0;

    MLKD_HD void operator()() const {
        if (state == nullptr) return;
        // Read as a whole, with loops of constant length: value by value, each one would be waited for.
        double values[LossMeter::most_parts], sums[LossMeter::most_parts];
        for (int part = 0; part < LossMeter::most_parts; ++part) {
            values[part] = part < parts ? losses[part] : 0.0f;
            sums[part] = part < parts ? state[sums_place + part] : 0.0;
        }
        const double steps = state[steps_place];
        double bad_step = state[bad_step_place], bad_part = state[bad_part_place];
        for (int part = 0; part < LossMeter::most_parts; ++part) {
            const double loss = values[part];
            sums[part] += loss * samples;
            if (bad_step < 0 && !(loss - loss == 0.0)) {  // infinite or not a number
                bad_step = steps;
                bad_part = part;
            }
        }
        for (int part = 0; part < parts; ++part) state[sums_place + part] = sums[part];
        state[samples_place] += samples;
        state[steps_place] = steps + 1;
        state[bad_step_place] = bad_step;
        state[bad_part_place] = bad_part;
    }
};

}  // namespace mlkd
