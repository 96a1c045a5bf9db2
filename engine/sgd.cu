#include "engine/sgd.h"

namespace mlkd {
namespace {

struct SgdStep {
    float *values, *momenta;
    const float *gradients, *lr;
    float momentum, weight_decay;

    MLKD_HD void operator()(std::int64_t i) const {
        const float v = momentum * momenta[i] + (gradients[i] + weight_decay * values[i]);
        momenta[i] = v;
        values[i] -= *lr * v;
    }
};

}  // namespace

void sgd_step(const Stream& stream, const Tensor& values, const Tensor& momenta, const Tensor& gradients, const Tensor& lr,
              const SgdSettings& settings) {
    MLKD_CHECK(values.shape == momenta.shape && values.shape == gradients.shape, "sgd: shapes differ");
    for_each_index(stream, values.elements(),
                   SgdStep{values.as<float>(), momenta.as<float>(), gradients.as<float>(), lr.as<float>(), settings.momentum,
                           settings.weight_decay});
}

}  // namespace mlkd
