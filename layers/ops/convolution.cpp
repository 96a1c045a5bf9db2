#include "layers/ops/convolution.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace mlkd {

Conv2d::Conv2d(ParameterStore& store, const std::string& name, const ConvShape& shape)
    : name_(name),
      geometry_{shape.stride, shape.filter / 2},
      weight_(store.add_parameter(name + ".weight", {shape.out, shape.filter, shape.filter, shape.in}, Initial::kaiming_normal_fan_out,
                                  static_cast<std::int64_t>(shape.out) * shape.filter * shape.filter)) {}

std::string Conv2d::kind() const {
    return fmt::format("conv {0}x{0}{1}", weight_.shape[1], geometry_.stride == 1 ? "" : fmt::format(" /{}", geometry_.stride));
}

Shape Conv2d::output(const std::vector<Shape>& x) const {
    MLKD_CHECK(x.size() == 1 && x[0].rank() == 3, name_ + ": a convolution takes one value (H, W, C)");
    const Shape y = convolution_output_shape({1, x[0][0], x[0][1], x[0][2]}, weight_.shape, geometry_);
    return {y[1], y[2], y[3]};
}

void Conv2d::forward(OpRun& run, const OpTensors& t) const { run.backend.convolution_forward(t.y, t.x[0], weight_.value, geometry_); }

void Conv2d::backward_parameters(OpRun& run, const OpTensors& t, const Tensor& dL_dy) const {
    run.backend.convolution_backward_filter(weight_.gradient, t.x[0], dL_dy, geometry_);
}

void Conv2d::backward_inputs(OpRun& run, const OpTensors&, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const {
    if (gradients[0].dL_dx.empty()) return;
    run.backend.convolution_backward_data(gradients[0].dL_dx, dL_dy, weight_.value, geometry_, gradients[0].add);
}

double Conv2d::flop(const std::vector<Shape>& x) const {
    return 2.0 * static_cast<double>(output(x).elements()) * static_cast<double>(weight_.shape.elements() / weight_.shape[0]);
}

}  // namespace mlkd
