#include "layers/head_kernels.h"

namespace mlkd {
namespace {

struct MeanOverPixels {
    float* pooled;   // (N, C)
    const float* x;  // (N, pixels, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t c = team.rank(); c < channels; c += team.size()) {
            float sum = 0.0f;
            for (std::int64_t p = 0; p < pixels; ++p) sum += x[(n * pixels + p) * channels + c];
            pooled[n * channels + c] = sum / static_cast<float>(pixels);
        }
    }
};

struct MeanOverPixelsBackward {
    float* dL_dx;             // (N, pixels, C)
    const float* dL_dpooled;  // (N, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t p = 0; p < pixels; ++p)
            for (std::int64_t c = team.rank(); c < channels; c += team.size())
                dL_dx[(n * pixels + p) * channels + c] = dL_dpooled[n * channels + c] / static_cast<float>(pixels);
    }
};

struct AddBias {
    float* y;           // (N, O)
    const float* bias;  // (O)
    std::int64_t outputs;

    MLKD_HD void operator()(std::int64_t i) const { y[i] += bias[i % outputs]; }
};

struct SumOverBatch {
    float* sum;      // (O)
    const float* y;  // (N, O)
    std::int64_t batch, outputs;

    MLKD_HD void operator()(std::int64_t o) const {
        float total = 0.0f;
        for (std::int64_t n = 0; n < batch; ++n) total += y[n * outputs + o];
        sum[o] = total;
    }
};

}  // namespace

void mean_over_pixels(const Stream& stream, const Tensor& pooled, const Tensor& x) {
    for_each_row(stream, x.dim(0), MeanOverPixels{pooled.as<float>(), x.as<float>(), x.dim(1) * x.dim(2), x.dim(3)});
}

void mean_over_pixels_backward(const Stream& stream, const Tensor& dL_dx, const Tensor& dL_dpooled) {
    for_each_row(stream, dL_dx.dim(0),
                 MeanOverPixelsBackward{dL_dx.as<float>(), dL_dpooled.as<float>(), dL_dx.dim(1) * dL_dx.dim(2), dL_dx.dim(3)});
}

void add_bias(const Stream& stream, const Tensor& y, const Tensor& bias) {
    for_each_index(stream, y.elements(), AddBias{y.as<float>(), bias.as<float>(), bias.elements()});
}

void sum_over_batch(const Stream& stream, const Tensor& sum, const Tensor& y) {
    for_each_index(stream, sum.elements(), SumOverBatch{sum.as<float>(), y.as<float>(), y.dim(0), y.dim(1)});
}

}  // namespace mlkd
