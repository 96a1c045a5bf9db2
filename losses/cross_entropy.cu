#include "losses/cross_entropy.h"

namespace mlkd {

void cross_entropy(const Stream& stream, const Tensor& row_loss, const Tensor& dL_dlogits, const Tensor& logits, const Tensor& target,
                   float weight) {
    for_each_row(stream, logits.dim(0),
                 CrossEntropy{row_loss.as<float>(), dL_dlogits.as<float>(), logits.as<float>(), target.as<std::int32_t>(), target.dim(0),
                              logits.dim(1), weight});
}

}  // namespace mlkd
