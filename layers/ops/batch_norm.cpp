#include "layers/ops/batch_norm.h"

#include "engine/error.h"
#include "engine/types.h"
#include "layers/ops/folded_convolution.h"

namespace mlkd {

BatchNormState::BatchNormState(ParameterStore& parameters, const std::string& norm, int count, int updates)
    : store(&parameters),
      name(norm),
      channels(count),
      updates_per_pass(updates),
      weight(&parameters.add_parameter(norm + ".weight", {count}, Initial::one)),
      bias(&parameters.add_parameter(norm + ".bias", {count}, Initial::zero)),
      running_mean(&parameters.add_buffer(norm + ".running_mean", {count}, Initial::zero, updates)),
      running_variance(&parameters.add_buffer(norm + ".running_var", {count}, Initial::one, updates)) {}

std::string BatchNorm::kind() const { return std::string("norm") + (residual_ ? " + add" : "") + (relu_ ? " + relu" : ""); }

Shape BatchNorm::output(const std::vector<Shape>& x) const {
    MLKD_CHECK(x.size() == (residual_ ? 2 : 1) && x[0].rank() == 3 && x[0][2] == state_.channels, state_.name + ": takes (H, W, " + std::to_string(state_.channels) + ")");
    MLKD_CHECK(!residual_ || x[1] == x[0], state_.name + ": what is added is " + x[1].text() + ", not " + x[0].text());
    return x[0];
}

namespace {

// What the operation asks the plan for, in this order.
enum Kept { mean, inverse_deviation };                       // (views, C)
enum ForwardScratch { partials, group_sums };                // see batch_norm_kernels.h
enum BackwardScratch { mean_dz = 2, mean_dz_xhat };          // (views, C), behind the same two

}  // namespace

OpMemory BatchNorm::memory(const OpTensors& t, int views) const {
    const Shape& x = t.x[0].shape;
    const TensorSpec per_view{computed_type(t.x[0].dtype), {views, state_.channels}};
    const TensorSpec sums{per_view.dtype, batch_norm_partials_shape(x, views)}, of_groups{DType::f64, batch_norm_group_sums_shape(x, views)};
    return {.kept = {per_view, per_view}, .forward_scratch = {sums, of_groups}, .backward_scratch = {sums, of_groups, per_view, per_view}};
}

void BatchNorm::forward(OpRun& run, const OpTensors& t) const {
    const Stream stream = run.backend.stream();
    const BatchNormWorkspace workspace{t.scratch[partials], t.scratch[group_sums], state_.store->arrivals()};
    batch_norm_statistics(stream, t.kept[mean], t.kept[inverse_deviation], state_.running_mean->tensor, state_.running_variance->tensor,
                          workspace, t.x[0], run.views, state_.updates_per_pass);
    batch_norm_apply(stream, t.y, t.x[0], t.kept[mean], t.kept[inverse_deviation], state_.weight->value, state_.bias->value,
                     residual_ ? t.x[1] : Tensor{}, relu_, run.views);
}

void BatchNorm::evaluate(OpRun& run, const OpTensors& t) const {
    batch_norm_evaluate(run.backend.stream(), t.y, t.x[0], state_.running_mean->tensor, state_.running_variance->tensor,
                        state_.weight->value, state_.bias->value, residual_ ? t.x[1] : Tensor{}, relu_);
}

void BatchNorm::backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const {
    const Stream stream = run.backend.stream();
    const BatchNormWorkspace workspace{t.scratch[partials], t.scratch[group_sums], state_.store->arrivals()};
    batch_norm_backward_sums(stream, state_.weight->gradient, state_.bias->gradient, t.scratch[mean_dz], t.scratch[mean_dz_xhat], workspace,
                             dL_dy, t.y, t.x[0], t.kept[mean], t.kept[inverse_deviation], state_.weight->value, state_.bias->value,
                             residual_, relu_, run.views);
    if (gradients[0].dL_dx.empty()) return;
    const Tensor& dz = dL_dy;  // by now
    batch_norm_backward_apply(stream, gradients[0].dL_dx, dz, t.x[0], t.kept[mean], t.kept[inverse_deviation], state_.weight->value,
                              t.scratch[mean_dz], t.scratch[mean_dz_xhat], run.views);
}

std::shared_ptr<Op> BatchNorm::folded(const std::shared_ptr<Op>& producer, int input) const {
    const auto convolution = std::dynamic_pointer_cast<const Conv2d>(producer);
    if (convolution == nullptr || input != 0) return nullptr;
    return std::make_shared<FoldedConvolution>(convolution, std::make_shared<const BatchNorm>(*this), residual_, relu_);
}

void BatchNorm::fold(Backend& backend, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w) const {
    batch_norm_fold(backend.stream(), folded_w, folded_bias, w, state_.running_mean->tensor, state_.running_variance->tensor,
                    state_.weight->value, state_.bias->value);
}

}  // namespace mlkd
