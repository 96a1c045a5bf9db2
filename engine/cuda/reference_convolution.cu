#include "engine/cuda/reference_convolution.h"

namespace mlkd::cuda {
namespace {

// Extents as kernels take them; see ConvolutionCall.
struct Extents {
    std::int64_t n, h, w, c, k, r, s, p, q, stride, padding;

    explicit Extents(const ConvolutionCall& call)
        : n(call.n),
          h(call.h),
          w(call.w),
          c(call.c),
          k(call.k),
          r(call.r),
          s(call.s),
          p(call.p()),
          q(call.q()),
          stride(call.stride),
          padding(call.padding) {}

    // The offset of x(n, row, column, 0) that tap (i, j) of output position (u, v) reads; -1 in the padding.
    MLKD_HD std::int64_t input(std::int64_t image, std::int64_t u, std::int64_t v, std::int64_t i, std::int64_t j) const {
        const std::int64_t row = u * stride + i - padding, column = v * stride + j - padding;
        return row < 0 || row >= h || column < 0 || column >= w ? -1 : ((image * h + row) * w + column) * c;
    }
    // The offset of y(n, u, v, 0) whose tap (i, j) reads input position (row, column); -1 where there is none.
    MLKD_HD std::int64_t output(std::int64_t image, std::int64_t row, std::int64_t column, std::int64_t i, std::int64_t j) const {
        const std::int64_t down = row + padding - i, right = column + padding - j;
        if (down < 0 || right < 0 || down % stride != 0 || right % stride != 0 || down / stride >= p || right / stride >= q) return -1;
        return ((image * p + down / stride) * q + right / stride) * k;
    }
};

struct Forward {
    double* y;
    const double *x, *weights, *bias, *residual;
    bool relu;
    Extents e;

    MLKD_HD void operator()(std::int64_t index) const {
        const std::int64_t filter = index % e.k, v = index / e.k % e.q, u = index / (e.k * e.q) % e.p, image = index / (e.k * e.q * e.p);
        double sum = 0;
        for (std::int64_t i = 0; i < e.r; ++i)
            for (std::int64_t j = 0; j < e.s; ++j) {
                const std::int64_t at = e.input(image, u, v, i, j);
                if (at < 0) continue;
                const double* const row = weights + ((filter * e.r + i) * e.s + j) * e.c;
                for (std::int64_t channel = 0; channel < e.c; ++channel) sum += x[at + channel] * row[channel];
            }
        if (bias != nullptr) sum += bias[filter];
        if (residual != nullptr) sum += residual[index];
        y[index] = relu && sum < 0 ? 0 : sum;  // a NaN passes on
    }
};

struct BackwardData {
    double* dL_dx;
    const double *dL_dy, *weights;
    bool accumulate;
    Extents e;

    MLKD_HD void operator()(std::int64_t index) const {
        const std::int64_t channel = index % e.c, column = index / e.c % e.w, row = index / (e.c * e.w) % e.h,
                           image = index / (e.c * e.w * e.h);
        double sum = 0;
        for (std::int64_t i = 0; i < e.r; ++i)
            for (std::int64_t j = 0; j < e.s; ++j) {
                const std::int64_t at = e.output(image, row, column, i, j);
                if (at < 0) continue;
                for (std::int64_t filter = 0; filter < e.k; ++filter)
                    sum += dL_dy[at + filter] * weights[((filter * e.r + i) * e.s + j) * e.c + channel];
            }
        dL_dx[index] = accumulate ? dL_dx[index] + sum : sum;
    }
};

struct BackwardFilter {
    double* dL_dw;
    const double *x, *dL_dy;
    Extents e;

    MLKD_HD void operator()(std::int64_t index) const {
        const std::int64_t channel = index % e.c, j = index / e.c % e.s, i = index / (e.c * e.s) % e.r, filter = index / (e.c * e.s * e.r);
        double sum = 0;
        for (std::int64_t image = 0; image < e.n; ++image)
            for (std::int64_t u = 0; u < e.p; ++u)
                for (std::int64_t v = 0; v < e.q; ++v)
                    if (const std::int64_t at = e.input(image, u, v, i, j); at >= 0)
                        sum += x[at + channel] * dL_dy[((image * e.p + u) * e.q + v) * e.k + filter];
        dL_dw[index] = sum;
    }
};

}  // namespace

void reference_convolution(const Stream& stream, const ConvolutionCall& call, const ConvolutionOperands& operands) {
    const Extents e(call);
    const auto at = [](void* address) { return static_cast<double*>(address); };
    double *const x = at(operands.x), *const w = at(operands.w), *const y = at(operands.y);
    switch (call.direction) {
        case Direction::forward:
            return for_each_index(stream, e.n * e.p * e.q * e.k,
                                  Forward{y, x, w, at(operands.bias), at(operands.residual), call.relu, e});
        case Direction::backward_data:
            return for_each_index(stream, e.n * e.h * e.w * e.c, BackwardData{x, y, w, call.accumulate, e});
        case Direction::backward_filter:
            return for_each_index(stream, e.k * e.r * e.s * e.c, BackwardFilter{w, x, y, e});
    }
}

}  // namespace mlkd::cuda
