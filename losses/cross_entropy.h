#pragma once
// Cross entropy of logits with class labels, and its gradient.
#include "engine/kernels/launch.h"
#include "engine/tensor.h"
#include "losses/row_math.h"

namespace mlkd {

// row_loss[r] = -log softmax(logits[r])[y], dL_dlogits[r] = weight · (softmax(logits[r]) - onehot(y)).
template <class T> struct CrossEntropy {
    T* row_loss;                 // (V·B)
    T* dL_dlogits;               // (V·B, C)
    const T* logits;             // (V·B, C)
    const std::int32_t* target;  // (B): the views of a sample share its label
    std::int64_t samples;        // B
    std::int64_t classes;        // C
    T weight;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const T* x = logits + row * classes;
        T* gradient = dL_dlogits + row * classes;
        const std::int64_t y = target[row % samples];
        const RowMaximum<T> maximum = row_maximum(team, x, classes);
        const T tail = softmax_tail(team, x, classes, maximum);
        const T scale = weight / (T{1} + tail);
#pragma omp simd
        for (std::int64_t i = team.rank(); i < classes; i += team.size()) gradient[i] = scale * fast_exp(x[i] - maximum.value);
        team.sync();
        if (team.rank() == 0) {
            row_loss[row] = cross_entropy_of(x, y, maximum, tail);
            gradient[y] = y == maximum.place ? -scale * tail : gradient[y] - weight;  // p - 1 = -tail / (1 + tail)
        }
    }
};

// Overwrites row_loss and dL_dlogits, f32, or f64 like logits. weight already contains the mean over samples.
void cross_entropy(const Stream& stream, const Tensor& row_loss, const Tensor& dL_dlogits, const Tensor& logits, const Tensor& target,
                   double weight);

}  // namespace mlkd
