#include "losses/meter.h"

#include <cmath>

namespace mlkd {
namespace {

constexpr std::int64_t state_size = sizeof(LossMeter::Reading) / sizeof(double);

struct AddLosses {
    LossMeter::Reading* state;
    const float* losses;  // (5)
    double samples;

    MLKD_HD void operator()(std::int64_t) const {
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

}  // namespace

LossMeter::LossMeter(Backend& backend, PersistentArena& memory)
    : backend_(backend), state_(memory.allocate("loss meter", DType::f64, {state_size})) {
    reset();
}

void LossMeter::reset() { restore(Reading{}); }

void LossMeter::add(const Tensor& losses, std::int64_t samples) {
    for_each_index(backend_.stream(), 1,
                   AddLosses{reinterpret_cast<Reading*>(state_.as<double>()), losses.as<float>(), static_cast<double>(samples)});
}

LossMeter::Reading LossMeter::read() const {
    Reading reading;
    backend_.copy_to_host(&reading, state_.data, sizeof reading);
    return reading;
}

void LossMeter::restore(const Reading& reading) { backend_.copy_from_host(state_.data, &reading, sizeof reading); }

}  // namespace mlkd
