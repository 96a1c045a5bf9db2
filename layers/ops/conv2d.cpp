#include "layers/ops/conv2d.h"

namespace mlkd {

double ConvolutionSite::flop_per_image() const {
    const double side = (extent + 2 * (filter / 2) - filter) / stride + 1;
    return 2.0 * side * side * out * in * filter * filter;
}

Conv2d::Conv2d(ParameterStore& store, const std::string& name, int in, int out, int filter, int stride, int extent)
    : site_{name, in, out, filter, stride, extent},
      geometry_{stride, filter / 2},
      weight_(store.add_parameter(name + ".weight", {out, filter, filter, in}, Initial::kaiming_normal_fan_out,
                                  static_cast<std::int64_t>(out) * filter * filter)) {}

Shape Conv2d::output_shape(const Shape& x) const { return convolution_output_shape(x, weight_.shape, geometry_); }

Variable Conv2d::forward(TrainingPass& pass, const Variable& x) const {
    const Tensor y = pass.arena.allocate(site_.name, x.value.dtype, output_shape(x.value.shape));
    pass.backend.convolution_forward(y, x.value, weight_.variable.value, geometry_);
    const Variable out = pass.tape.variable(y);
    pass.tape.record(site_.name, [this, &backend = pass.backend, &tape = pass.tape, x, out] {
        const Tensor& dL_dy = out.gradient->tensor;
        tape.contribute(*weight_.variable.gradient, weight_.variable.value, site_.name + ".weight", [&](const Tensor& dL_dw) {
            backend.convolution_backward_filter(dL_dw, x.value, dL_dy, geometry_);
        });
        if (x.gradient == nullptr) return;
        tape.accumulate(*x.gradient, x.value, site_.name, [&](const Tensor& dL_dx, bool add) {
            backend.convolution_backward_data(dL_dx, dL_dy, weight_.variable.value, geometry_, add);
        });
    });
    return out;
}

void Conv2d::evaluate(EvaluationPass& pass, const Tensor& y, const Tensor& x, const Epilogue& epilogue) const {
    evaluate_with(pass, weight_.variable.value, y, x, epilogue);
}

void Conv2d::evaluate_with(EvaluationPass& pass, const Tensor& w, const Tensor& y, const Tensor& x, const Epilogue& epilogue) const {
    pass.backend.convolution_forward(y, x, w, geometry_, epilogue);
}

}  // namespace mlkd
