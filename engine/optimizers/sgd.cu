#include "engine/optimizers/sgd.h"

#include "engine/types.h"

namespace mlkd {
namespace {

template <class T> struct SgdStep {
    T *values, *momenta;
    const T *gradients, *lr;
    T momentum, weight_decay;
    bfloat16* rounded_values;
    const bfloat16* rounded_gradients;
    std::int64_t rounded;  // how many

    MLKD_HD void operator()(std::int64_t i) const {
        const T gradient = i < rounded ? static_cast<T>(static_cast<float>(rounded_gradients[i])) : gradients[i];
        const T v = momentum * momenta[i] + (gradient + weight_decay * values[i]);
        const T value = values[i] - *lr * v;
        momenta[i] = v;
        values[i] = value;
        if (i < rounded) rounded_values[i] = bfloat16(static_cast<float>(value));
    }
};

}  // namespace

void sgd_step(const Stream& stream, const Tensor& values, const Tensor& momenta, const Tensor& gradients, const Tensor& lr,
              const SgdSettings& settings, const RoundedParameters& rounded) {
    MLKD_CHECK(values.shape == momenta.shape && values.shape == gradients.shape, "sgd: shapes differ");
    const std::int64_t count = rounded.values.empty() ? 0 : rounded.values.elements();
    MLKD_CHECK(count == 0 || (rounded.gradients.elements() == count && count <= values.elements()), "sgd: shapes of bfloat16 copies differ");
    with_real_type(values.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, values.elements(),
                       SgdStep<T>{values.as<T>(), momenta.as<T>(), gradients.as<T>(), lr.as<T>(), static_cast<T>(settings.momentum),
                                  static_cast<T>(settings.weight_decay), count == 0 ? nullptr : rounded.values.as<bfloat16>(),
                                  count == 0 ? nullptr : rounded.gradients.as<bfloat16>(), count});
    });
}

}  // namespace mlkd
