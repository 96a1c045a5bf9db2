#include "losses/meters/meter.h"

namespace mlkd {
namespace {

constexpr std::int64_t state_size = sizeof(LossMeter::Reading) / sizeof(double);

}  // namespace

LossMeter::LossMeter(Backend& backend, PersistentArena& memory)
    : backend_(backend), state_(memory.allocate("loss meter", DType::f64, {state_size})) {
    reset();
}

void LossMeter::reset() { restore(Reading{}); }

AddLosses LossMeter::adding(const Tensor& losses, std::int64_t samples) const {
    return {reinterpret_cast<Reading*>(state_.as<double>()), losses.as<float>(), static_cast<double>(samples)};
}

LossMeter::Reading LossMeter::read() const {
    Reading reading;
    backend_.copy_to_host(&reading, state_.data, sizeof reading);
    return reading;
}

void LossMeter::restore(const Reading& reading) { backend_.copy_from_host(state_.data, &reading, sizeof reading); }

}  // namespace mlkd
