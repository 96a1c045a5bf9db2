#include "layers/ops/pooled_linear.h"

#include "engine/error.h"
#include "layers/ops/pooled_linear_kernels.h"

namespace mlkd {

PooledLinear::PooledLinear(ParameterStore& store, const std::string& name, int channels, int classes, LinearBias bias)
    : name_(name),
      channels_(channels),
      classes_(classes),
      weight_(store.add_parameter(name + ".weight", {classes, channels}, Initial::uniform_fan_in, channels)),
      bias_(store.add_parameter(name + ".bias", {classes}, bias == LinearBias::zero ? Initial::zero : Initial::uniform_fan_in, channels)) {}

Shape PooledLinear::output(const std::vector<Shape>& x) const {
    MLKD_CHECK(x.size() == 1 && x[0].rank() == 3 && x[0][2] == channels_, name_ + ": takes one value (H, W, " + std::to_string(channels_) + ")");
    return {classes_};
}

OpMemory PooledLinear::memory(const OpTensors& t, int) const {
    const TensorSpec pooled{t.y.dtype, {t.y.dim(0), channels_}};
    return {.kept = {pooled}, .forward_scratch = {}, .backward_scratch = {pooled}};
}

void PooledLinear::forward(OpRun& run, const OpTensors& t) const {
    pooled_linear(run.backend, t.y, t.kept[0], t.x[0], weight_.value, bias_.value);
}

void PooledLinear::backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const {
    pooled_linear_backward(run.backend, {gradients[0].dL_dx, weight_.gradient, bias_.gradient}, dL_dy, t.kept[0], weight_.value,
                           t.scratch[0]);
}

}  // namespace mlkd
