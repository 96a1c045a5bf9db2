#pragma once
// Cross entropy of logits with class labels, with label smoothing (Szegedy et al., CVPR 2016) as PyTorch has it, and its gradient.
#include "engine/kernels/launch.h"
#include "engine/tensor.h"
#include "losses/row_math.h"

namespace mlkd {

// With the target distribution q = (1 - smoothing) · onehot(y) + smoothing / C and p = softmax(logits[r]):
//     row_loss[r] = -Σ q log p,     dL_dlogits[r] = weight · (p - q).
template <class T> struct CrossEntropy {
    T* row_loss;                 // (V·B)
    T* dL_dlogits;               // (V·B, C)
    const T* logits;             // (V·B, C)
    const std::int32_t* target;  // (B): the views of a sample share its label
    std::int64_t samples;        // B
    std::int64_t classes;        // C
    T weight;
    T smoothing = 0;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const T* x = logits + row * classes;
        T* gradient = dL_dlogits + row * classes;
        const std::int64_t y = target[row % samples];
        const RowMaximum<T> maximum = row_maximum(team, x, classes);
        const T tail = softmax_tail(team, x, classes, maximum);
        const T scale = weight / (T{1} + tail), uniform = weight * smoothing / static_cast<T>(classes);
#pragma omp simd
        for (std::int64_t i = team.rank(); i < classes; i += team.size()) gradient[i] = scale * fast_exp(x[i] - maximum.value) - uniform;
        const T mean = smoothing == 0 ? T{0} : mean_from(team, x, maximum.value);
        team.sync();
        if (team.rank() == 0) {
            row_loss[row] = cross_entropy_of(x, y, maximum, tail);
            gradient[y] = y == maximum.place ? -scale * tail - uniform : gradient[y] - weight;  // p - 1 = -tail / (1 + tail)
            if (smoothing == 0) return;
            row_loss[row] += smoothing * ((x[y] - maximum.value) - mean);
            gradient[y] += weight * smoothing;
        }
    }

private:
    // The mean of x - origin.
    template <class Team>
    MLKD_HD T mean_from(const Team& team, const T* x, T origin) const {
        return row_sum<T>(team, classes, [&](std::int64_t k) { return x[k] - origin; }) / static_cast<T>(classes);
    }
};

// Overwrites row_loss and dL_dlogits, f32, or f64 like logits. weight already contains the mean over samples; smoothing in [0, 1).
void cross_entropy(const Stream& stream, const Tensor& row_loss, const Tensor& dL_dlogits, const Tensor& logits, const Tensor& target,
                   double weight, double smoothing);

}  // namespace mlkd
