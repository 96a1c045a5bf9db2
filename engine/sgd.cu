#include "engine/sgd.h"

#include "engine/dispatch.h"

namespace mlkd {
namespace {

template <class T> struct SgdStep {
    T *values, *momenta;
    const T *gradients, *lr;
    T momentum, weight_decay;

    MLKD_HD void operator()(std::int64_t i) const {
        const T v = momentum * momenta[i] + (gradients[i] + weight_decay * values[i]);
        momenta[i] = v;
        values[i] -= *lr * v;
    }
};

}  // namespace

void sgd_step(const Stream& stream, const Tensor& values, const Tensor& momenta, const Tensor& gradients, const Tensor& lr,
              const SgdSettings& settings) {
    MLKD_CHECK(values.shape == momenta.shape && values.shape == gradients.shape, "sgd: shapes differ");
    with_real_type(values.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, values.elements(),
                       SgdStep<T>{values.as<T>(), momenta.as<T>(), gradients.as<T>(), lr.as<T>(), static_cast<T>(settings.momentum),
                                  static_cast<T>(settings.weight_decay)});
    });
}

}  // namespace mlkd
