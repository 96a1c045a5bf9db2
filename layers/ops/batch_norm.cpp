#include "layers/ops/batch_norm.h"

namespace mlkd {

BatchNorm::BatchNorm(ParameterStore& store, const std::string& name, int channels, int updates_per_pass)
    : store_(store),
      name_(name),
      channels_(channels),
      updates_per_pass_(updates_per_pass),
      weight_(store.add_parameter(name + ".weight", {channels}, Initial::one)),
      bias_(store.add_parameter(name + ".bias", {channels}, Initial::zero)),
      running_mean_(store.add_buffer(name + ".running_mean", {channels}, Initial::zero, updates_per_pass)),
      running_variance_(store.add_buffer(name + ".running_var", {channels}, Initial::one, updates_per_pass)) {}

BatchNormWorkspace BatchNorm::workspace(StepArena& arena, const Shape& x, int views) const {
    return {.partials = arena.allocate(name_ + " partials", weight_.variable.value.dtype, batch_norm_partials_shape(x, views)),
            .group_sums = arena.allocate(name_ + " group sums", DType::f64, batch_norm_group_sums_shape(x, views)),
            .arrivals = store_.arrivals()};
}

Variable BatchNorm::forward(TrainingPass& pass, const Variable& x, const Variable& residual, bool relu) const {
    const int views = pass.views;
    const Stream stream = pass.backend.stream();
    const auto per_view = [&](const char* what) {  // (views, C)
        return pass.arena.allocate(name_ + what, weight_.variable.value.dtype, {views, channels_});
    };
    const Tensor y = pass.arena.allocate(name_, x.value.dtype, x.value.shape);
    const Tensor mean = per_view(" mean"), inverse_deviation = per_view(" inverse deviation");
    {
        StepArena::Scope scope(pass.arena);
        batch_norm_statistics(stream, mean, inverse_deviation, running_mean_.tensor, running_variance_.tensor,
                              workspace(pass.arena, x.value.shape, views), x.value, views, updates_per_pass_);
    }
    batch_norm_apply(stream, y, x.value, mean, inverse_deviation, weight_.variable.value, bias_.variable.value, residual.value, relu,
                     views);

    const Variable out = pass.tape.variable(y);
    pass.tape.record(name_, [this, stream, views, &arena = pass.arena, &tape = pass.tape, x, residual, out, mean, inverse_deviation, relu] {
        const Tensor& dL_dy = out.gradient->tensor;
        const Tensor mean_dz = arena.allocate(name_ + " mean dz", mean.dtype, mean.shape);
        const Tensor mean_dz_xhat = arena.allocate(name_ + " mean dz xhat", mean.dtype, mean.shape);
        tape.contribute(*weight_.variable.gradient, weight_.variable.value, name_ + ".weight", [&](const Tensor& dL_dgamma) {
            tape.contribute(*bias_.variable.gradient, bias_.variable.value, name_ + ".bias", [&](const Tensor& dL_dbeta) {
                StepArena::Scope scope(arena);
                batch_norm_backward_sums(stream, dL_dgamma, dL_dbeta, mean_dz, mean_dz_xhat, workspace(arena, x.value.shape, views), dL_dy,
                                         out.value, x.value, mean, inverse_deviation, weight_.variable.value, bias_.variable.value,
                                         !residual.value.empty(), relu, views);
            });
        });
        tape.contribute(*x.gradient, x.value, name_, [&](const Tensor& dL_dx) {
            const Tensor& dz = dL_dy;
            batch_norm_backward_apply(stream, dL_dx, dz, x.value, mean, inverse_deviation, weight_.variable.value, mean_dz, mean_dz_xhat,
                                      views);
        });
        // The sums' pass has turned dL_dy into the gradient of what was added; nobody reads it as dL_dy any more.
        if (residual.gradient != nullptr) tape.contribute(*residual.gradient, dL_dy);
    });
    return out;
}

void BatchNorm::evaluate(EvaluationPass& pass, const Tensor& y, const Tensor& x, bool relu) const {
    batch_norm_evaluate(pass.backend.stream(), y, x, running_mean_.tensor, running_variance_.tensor, weight_.variable.value,
                        bias_.variable.value, relu);
}

void BatchNorm::fold(Backend& backend, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w) const {
    batch_norm_fold(backend.stream(), folded_w, folded_bias, w, running_mean_.tensor, running_variance_.tensor, weight_.variable.value,
                    bias_.variable.value);
}

}  // namespace mlkd
