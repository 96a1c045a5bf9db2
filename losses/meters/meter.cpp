#include "losses/meters/meter.h"

#include "engine/error.h"

namespace mlkd {

LossMeter::LossMeter(Backend& backend, PersistentArena& memory, int parts)
    : backend_(backend), parts_(parts), state_(memory.allocate("loss meter", DType::f64, {AddLosses::sums_place + parts})) {
    MLKD_CHECK(parts <= most_parts, "loss meter: too many parts");
    reset();
}

void LossMeter::reset() { restore(Reading{.sums = std::vector<double>(static_cast<std::size_t>(parts_))}); }

AddLosses LossMeter::adding(const Tensor& losses, std::int64_t samples) const {
    MLKD_CHECK(losses.shape == Shape{parts_}, "loss meter: losses " + losses.shape.text() + " do not fit");
    return {state_.as<double>(), losses.as<float>(), static_cast<double>(samples), parts_};
}

LossMeter::Reading LossMeter::read() const {
    std::vector<double> state(static_cast<std::size_t>(state_.elements()));
    backend_.copy_to_host(state.data(), state_.data, state_.bytes());
    return {.sums = {state.begin() + AddLosses::sums_place, state.end()},
            .samples = state[AddLosses::samples_place],
            .steps = state[AddLosses::steps_place],
            .bad_step = state[AddLosses::bad_step_place],
            .bad_part = state[AddLosses::bad_part_place]};
}

void LossMeter::restore(const Reading& reading) {
    MLKD_CHECK(static_cast<int>(reading.sums.size()) == parts_, "loss meter: a reading of other parts");
    std::vector<double> state{reading.samples, reading.steps, reading.bad_step, reading.bad_part};
    state.insert(state.end(), reading.sums.begin(), reading.sums.end());
    backend_.copy_from_host(state_.data, state.data(), state_.bytes());
}

}  // namespace mlkd
