#include "losses/cross_entropy.h"

#include "engine/types.h"

namespace mlkd {

void cross_entropy(const Stream& stream, const Tensor& row_loss, const Tensor& dL_dlogits, const Tensor& logits, const Tensor& target,
                   double weight, double smoothing) {
    with_real_type(logits.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_row(stream, logits.dim(0),
                     CrossEntropy<T>{row_loss.as<T>(), dL_dlogits.as<T>(), logits.as<T>(), target.as<std::int32_t>(), target.dim(0),
                                     logits.dim(1), static_cast<T>(weight), static_cast<T>(smoothing)});
    });
}

}  // namespace mlkd
