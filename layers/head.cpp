#include "layers/head.h"

#include "layers/head_kernels.h"

namespace mlkd {

PooledLinear::PooledLinear(ParameterStore& store, const std::string& name, int channels, int classes, LinearBias bias)
    : name_(name),
      channels_(channels),
      classes_(classes),
      weight_(store.add_parameter(name + ".weight", {classes, channels}, Initial::uniform_fan_in, channels)),
      bias_(store.add_parameter(name + ".bias", {classes}, bias == LinearBias::zero ? Initial::zero : Initial::uniform_fan_in, channels)) {}

Variable PooledLinear::forward(TrainingPass& pass, const Variable& x) const {
    const Stream stream = pass.backend.stream();
    const std::int64_t batch = x.value.dim(0);
    const DType dtype = weight_.variable.value.dtype;
    const Tensor logits = pass.arena.allocate(name_, dtype, {batch, classes_});
    const Tensor pooled = pass.arena.allocate(name_ + " pooled", dtype, {batch, channels_});
    mean_over_pixels(stream, pooled, x.value);
    pass.backend.matmul(logits, pooled, Transpose::no, weight_.variable.value, Transpose::yes);
    add_bias(stream, logits, bias_.variable.value);

    const Variable out = pass.tape.variable(logits);
    pass.tape.record(name_, [this, stream, &backend = pass.backend, &arena = pass.arena, &tape = pass.tape, x, pooled, out] {
        const Tensor& dL_dlogits = out.gradient->tensor;
        tape.contribute(*weight_.variable.gradient, weight_.variable.value, name_ + ".weight", [&](const Tensor& dL_dw) {
            backend.matmul(dL_dw, dL_dlogits, Transpose::yes, pooled, Transpose::no);
        });
        tape.contribute(*bias_.variable.gradient, bias_.variable.value, name_ + ".bias",
                        [&](const Tensor& dL_dbias) { sum_over_batch(stream, dL_dbias, dL_dlogits); });
        const Tensor dL_dpooled = arena.allocate("grad " + name_ + " pooled", pooled.dtype, pooled.shape);
        backend.matmul(dL_dpooled, dL_dlogits, Transpose::no, weight_.variable.value, Transpose::no);
        tape.contribute(*x.gradient, x.value, name_, [&](const Tensor& dL_dx) { mean_over_pixels_backward(stream, dL_dx, dL_dpooled); });
    });
    return out;
}

void PooledLinear::evaluate(EvaluationPass& pass, const Tensor& logits, const Tensor& x) const {
    StepArena::Scope scope(pass.arena);
    const Tensor pooled = pass.arena.allocate(name_ + " pooled", weight_.variable.value.dtype, {x.dim(0), channels_});
    mean_over_pixels(pass.backend.stream(), pooled, x);
    pass.backend.matmul(logits, pooled, Transpose::no, weight_.variable.value, Transpose::yes);
    add_bias(pass.backend.stream(), logits, bias_.variable.value);
}

}  // namespace mlkd
