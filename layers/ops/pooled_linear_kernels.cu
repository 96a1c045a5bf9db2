#include "engine/types.h"
#include "layers/ops/channel_groups.h"
#include "layers/ops/pooled_linear_kernels.h"
#include "layers/ops/pooled_linear_teams.h"

namespace mlkd {
namespace {

// --- for a CPU, around the library's matrix products -------------------------------------------------------------------

template <class S>
struct MeanOverPixels {
    using T = computed_t<S>;
    T* pooled;   // (N, C)
    const S* x;  // (N, pixels, C)
    std::int64_t pixels, channels;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t c = team.rank(); c < channels; c += team.size()) {
            T sum = T{0};
            for (std::int64_t p = 0; p < pixels; ++p) sum += static_cast<T>(x[(n * pixels + p) * channels + c]);
            pooled[n * channels + c] = sum / static_cast<T>(pixels);
        }
    }
};

template <class S>
struct MeanOverPixelsBackward {
    using T = computed_t<S>;
    S* dL_dx;             // (N, pixels, C)
    const T* dL_dpooled;  // (N, C)
    std::int64_t pixels, channels;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t p = 0; p < pixels; ++p)
            for (std::int64_t c = team.rank(); c < channels; c += team.size())
                dL_dx[(n * pixels + p) * channels + c] = static_cast<S>(dL_dpooled[n * channels + c] / static_cast<T>(pixels));
    }
};

template <class T>
struct AddBias {
    T* y;           // (N, O)
    const T* bias;  // (O)
    std::int64_t outputs;

    MLKD_HD void operator()(std::int64_t i) const { y[i] += bias[i % outputs]; }
};

template <class T>
struct SumOverBatch {
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

void pooled_linear(Backend& backend, const Tensor& logits, const Tensor& pooled, const Tensor& x, const Tensor& weight,
                   const Tensor& bias) {
    const Stream stream = backend.stream();
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        const std::int64_t batch = x.dim(0), pixels = x.dim(1) * x.dim(2), channels = x.dim(3), outputs = weight.dim(0);
        if (!has_teams(stream)) {
            for_each_row(stream, batch, MeanOverPixels<S>{pooled.as<T>(), x.as<S>(), pixels, channels});
            backend.matmul(logits, pooled, Transpose::no, weight, Transpose::yes);
            return for_each_index(stream, logits.elements(), AddBias<T>{logits.as<T>(), bias.as<T>(), outputs});
        }
        with_words<S>({x, weight}, channels, [&](auto width) {
            using Kernel = PooledLinearForward<S, decltype(width)::value>;
            for_each_row(stream, batch,
                         Kernel{logits.as<T>(), pooled.as<T>(), x.as<S>(), weight.as<T>(), bias.as<T>(), pixels, static_cast<int>(channels),
                                static_cast<int>(outputs)},
                         {.scratch_bytes = Kernel::scratch_bytes(block, static_cast<int>(channels)), .team_size = block});
        });
    });
}

void pooled_linear_backward(Backend& backend, const PooledLinearGradients& gradients, const Tensor& dL_dlogits, const Tensor& pooled,
                            const Tensor& weight, const Tensor& dL_dpooled) {
    const Stream stream = backend.stream();
    const Tensor& dL_dx = gradients.dL_dx;
    with_stored_type(dL_dx.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        const std::int64_t batch = dL_dx.dim(0), pixels = dL_dx.dim(1) * dL_dx.dim(2), channels = dL_dx.dim(3), outputs = weight.dim(0);
        if (!has_teams(stream)) {
            backend.matmul(gradients.dL_dweight, dL_dlogits, Transpose::yes, pooled, Transpose::no);
            for_each_index(stream, outputs, SumOverBatch<T>{gradients.dL_dbias.as<T>(), dL_dlogits.as<T>(), batch, outputs});
            backend.matmul(dL_dpooled, dL_dlogits, Transpose::no, weight, Transpose::no);
            return for_each_row(stream, batch, MeanOverPixelsBackward<S>{dL_dx.as<S>(), dL_dpooled.as<T>(), pixels, channels});
        }
        with_words<S>({dL_dx, pooled, weight}, channels, [&](auto width) {
            using Kernel = PooledLinearBackward<S, decltype(width)::value>;
            const Kernel kernel{dL_dx.as<S>(),
                                gradients.dL_dweight.as<T>(),
                                gradients.dL_dbias.as<T>(),
                                dL_dlogits.as<T>(),
                                pooled.as<T>(),
                                weight.as<T>(),
                                pixels,
                                static_cast<int>(batch),
                                static_cast<int>(channels),
                                static_cast<int>(outputs)};
            for_each_row(stream, kernel.rows(), kernel,
                         {.scratch_bytes = Kernel::scratch_bytes(block, static_cast<int>(channels)), .team_size = block});
        });
    });
}

}  // namespace mlkd
