// Batch norm on a GPU against the CPU's.
#include "layers/ops/batch_norm_kernels.h"

#include <doctest/doctest.h>

#include "tests/cuda/both_devices.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Setting {
    Shape x;
    int views;
    bool relu, residual;
};
// Channels that words of 16 bytes divide and others, a team's lanes that are one, a few, many.
const std::vector<Setting> settings{{{2, 3, 5, 7}, 1, false, false},  {{4, 9, 11, 16}, 2, true, true}, {{6, 16, 9, 64}, 2, true, false},
                                    {{2, 3, 5, 640}, 1, true, true},  {{3, 1, 1, 1}, 3, true, true},   {{4, 17, 16, 130}, 2, true, true},
                                    {{8, 32, 32, 32}, 2, true, true}, {{2, 8, 8, 256}, 2, true, false}};

// Forward and backward of one layer with all that they leave behind.
struct Layer {
    Tensor x, residual, gamma, beta, dL_dy;
    Tensor y, mean, inverse_deviation, running_mean, running_variance, dL_dx, dL_dgamma, dL_dbeta;

    Layer(DeviceTensors& tensors, const Setting& s, DType dtype) {
        const DType single = DType::f32;
        const Shape vector{s.x[3]}, per_view{s.views, s.x[3]};
        const Stream stream = tensors.backend().stream();
        x = tensors.input(s.x, 1, 4, dtype);
        if (s.residual) residual = tensors.input(s.x, -1, 1, dtype);
        gamma = tensors.input(vector, 0.5, 1.5), beta = tensors.input(vector, -1, 1), dL_dy = tensors.input(s.x, -1, 1, dtype);
        y = tensors.output(s.x, dtype), dL_dx = tensors.output(s.x, dtype);
        mean = tensors.output(per_view), inverse_deviation = tensors.output(per_view);
        running_mean = tensors.input(vector), running_variance = tensors.input(vector, 0.5, 2);
        dL_dgamma = tensors.output(vector), dL_dbeta = tensors.output(vector);
        const BatchNormWorkspace workspace{tensors.output(batch_norm_partials_shape(s.x, s.views), single),
                                           tensors.output(batch_norm_group_sums_shape(s.x, s.views), DType::f64),
                                           tensors.zeros({batch_norm_arrivals}, DType::i32)};
        const Tensor mean_dz = tensors.output(per_view), mean_dz_xhat = tensors.output(per_view);
        batch_norm_statistics(stream, mean, inverse_deviation, running_mean, running_variance, workspace, x, s.views);
        batch_norm_apply(stream, y, x, mean, inverse_deviation, gamma, beta, residual, s.relu, s.views);
        batch_norm_backward_sums(stream, dL_dgamma, dL_dbeta, mean_dz, mean_dz_xhat, workspace, dL_dy, y, x, mean, inverse_deviation, gamma,
                                 beta, s.residual, s.relu, s.views);
        batch_norm_backward_apply(stream, dL_dx, dL_dy, x, mean, inverse_deviation, gamma, mean_dz, mean_dz_xhat, s.views);
    }
};

double tolerance_of(DType dtype) { return dtype == DType::bf16 ? 4e-3 : 2e-5; }

}  // namespace

TEST_SUITE_BEGIN("kernels");

TEST_CASE("both devices: batch norm, forward and backward") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const Setting& s : settings)
        for (const DType dtype : {DType::f32, DType::bf16}) {
            CAPTURE(s.x.text());
            compare_devices(*gpu, tolerance_of(dtype), [&](DeviceTensors& tensors) {
                const Layer layer(tensors, s, dtype);
                return std::vector<Tensor>{layer.y,         layer.mean,     layer.inverse_deviation, layer.running_mean, layer.running_variance,
                                           layer.dL_dgamma, layer.dL_dbeta, layer.dL_dy,             layer.dL_dx};
            });
        }
}

TEST_CASE("both devices: batch norm in evaluation mode, and folded") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const std::int64_t C : {5, 64})
        for (const DType dtype : {DType::f32, DType::bf16})
            compare_devices(*gpu, tolerance_of(dtype), [&](DeviceTensors& tensors) {
                const Stream stream = tensors.backend().stream();
                const Tensor gamma = tensors.input({C}), beta = tensors.input({C}), mean = tensors.input({C}), variance = tensors.input({C}, 0.5, 2);
                const Shape shape{3, 5, 7, C};
                const Tensor x = tensors.input(shape, -1, 1, dtype), y = tensors.output(shape, dtype);
                batch_norm_evaluate(stream, y, x, mean, variance, gamma, beta, Tensor{}, true);
                const Tensor w = tensors.input({C, 3, 3, 6}), folded = tensors.output(w.shape, dtype), bias = tensors.output({C}, dtype);
                batch_norm_fold(stream, folded, bias, w, mean, variance, gamma, beta);
                return std::vector<Tensor>{y, folded, bias};
            });
}

TEST_SUITE_END();
