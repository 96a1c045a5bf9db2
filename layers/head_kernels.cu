#include "layers/head_kernels.h"

#include "engine/dispatch.h"

namespace mlkd {
namespace {

template <class S> struct MeanOverPixels {
    using T = computed_t<S>;
    T* pooled;   // (N, C)
    const S* x;  // (N, pixels, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t c = team.rank(); c < channels; c += team.size()) {
            T sum = T{0};
            for (std::int64_t p = 0; p < pixels; ++p) sum += static_cast<T>(x[(n * pixels + p) * channels + c]);
            pooled[n * channels + c] = sum / static_cast<T>(pixels);
        }
    }
};

template <class S> struct MeanOverPixelsBackward {
    using T = computed_t<S>;
    S* dL_dx;             // (N, pixels, C)
    const T* dL_dpooled;  // (N, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t p = 0; p < pixels; ++p)
            for (std::int64_t c = team.rank(); c < channels; c += team.size())
                dL_dx[(n * pixels + p) * channels + c] = static_cast<S>(dL_dpooled[n * channels + c] / static_cast<T>(pixels));
    }
};

template <class T> struct AddBias {
    T* y;           // (N, O)
    const T* bias;  // (O)
    std::int64_t outputs;

    MLKD_HD void operator()(std::int64_t i) const { y[i] += bias[i % outputs]; }
};

template <class T> struct SumOverBatch {
    T* sum;      // (O)
    const T* y;  // (N, O)
    std::int64_t batch, outputs;

    MLKD_HD void operator()(std::int64_t o) const {
        T total = T{0};
        for (std::int64_t n = 0; n < batch; ++n) total += y[n * outputs + o];
        sum[o] = total;
    }
};

}  // namespace

void mean_over_pixels(const Stream& stream, const Tensor& pooled, const Tensor& x) {
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        for_each_row(stream, x.dim(0), MeanOverPixels<S>{pooled.as<computed_t<S>>(), x.as<S>(), x.dim(1) * x.dim(2), x.dim(3)});
    });
}

void mean_over_pixels_backward(const Stream& stream, const Tensor& dL_dx, const Tensor& dL_dpooled) {
    with_stored_type(dL_dx.dtype, [&](auto zero) {
        using S = decltype(zero);
        for_each_row(stream, dL_dx.dim(0),
                     MeanOverPixelsBackward<S>{dL_dx.as<S>(), dL_dpooled.as<computed_t<S>>(), dL_dx.dim(1) * dL_dx.dim(2), dL_dx.dim(3)});
    });
}

void add_bias(const Stream& stream, const Tensor& y, const Tensor& bias) {
    with_real_type(y.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, y.elements(), AddBias<T>{y.as<T>(), bias.as<T>(), bias.elements()});
    });
}

void sum_over_batch(const Stream& stream, const Tensor& sum, const Tensor& y) {
    with_real_type(y.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, sum.elements(), SumOverBatch<T>{sum.as<T>(), y.as<T>(), y.dim(0), y.dim(1)});
    });
}

}  // namespace mlkd
