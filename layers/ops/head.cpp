#include "layers/ops/head.h"

#include "layers/ops/head_kernels.h"

namespace mlkd {

PooledLinear::PooledLinear(ParameterStore& store, const std::string& name, int channels, int classes, LinearBias bias)
    : name_(name),
      channels_(channels),
      classes_(classes),
      weight_(store.add_parameter(name + ".weight", {classes, channels}, Initial::uniform_fan_in, channels)),
      bias_(store.add_parameter(name + ".bias", {classes}, bias == LinearBias::zero ? Initial::zero : Initial::uniform_fan_in, channels)) {}

Variable PooledLinear::forward(TrainingPass& pass, const Variable& x) const {
    const std::int64_t batch = x.value.dim(0);
    const Tensor &weight = weight_.variable.value, &bias = bias_.variable.value;
    const Tensor logits = pass.arena.allocate(name_, weight.dtype, {batch, classes_});
    const Tensor pooled = pass.arena.allocate(name_ + " pooled", weight.dtype, {batch, channels_});
    pooled_linear(pass.backend, logits, pooled, x.value, weight, bias);

    const Variable out = pass.tape.variable(logits);
    pass.tape.record(name_, [this, &backend = pass.backend, &arena = pass.arena, &tape = pass.tape, x, pooled, out] {
        // x comes first: its gradient may be new memory, which must outlive what the parameters' contributions borrow.
        const Variable &w = weight_.variable, &b = bias_.variable;
        tape.contribute(*x.gradient, x.value, name_, [&](const Tensor& dL_dx) {
            tape.contribute(*w.gradient, w.value, name_ + ".weight", [&](const Tensor& dL_dweight) {
                tape.contribute(*b.gradient, b.value, name_ + ".bias", [&](const Tensor& dL_dbias) {
                    pooled_linear_backward(backend, arena, {dL_dx, dL_dweight, dL_dbias}, out.gradient->tensor, pooled, w.value);
                });
            });
        });
    });
    return out;
}

void PooledLinear::evaluate(EvaluationPass& pass, const Tensor& logits, const Tensor& x) const {
    StepArena::Scope scope(pass.arena);
    const Tensor pooled = pass.arena.allocate(name_ + " pooled", weight_.variable.value.dtype, {x.dim(0), channels_});
    pooled_linear(pass.backend, logits, pooled, x, weight_.variable.value, bias_.variable.value);
}

}  // namespace mlkd
