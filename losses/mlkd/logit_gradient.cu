#include "losses/mlkd/logit_gradient.h"

namespace mlkd {

void logit_gradient(const Stream& stream, const Tensor& dL_dlogits, const Tensor& difference, const Tensor& student_softmax,
                    const Tensor& dL_dsoftmax, const Tensor& dL_dlog_softmax, const Tensor& student, const Term* terms,
                    const float* masks) {
    const auto optional = [](const Tensor& tensor) { return tensor.empty() ? nullptr : tensor.as<float>(); };
    for_each_row(stream, dL_dlogits.dim(0),
                 LogitGradient{dL_dlogits.as<float>(), difference.as<float>(), student_softmax.as<float>(), optional(dL_dsoftmax),
                               optional(dL_dlog_softmax), student.as<float>(), terms, masks, difference.dim(0), difference.dim(1),
                               difference.dim(2)});
}

void loss_sums(const Stream& stream, const LossSums& sums) { for_each_row(stream, 1, sums, {.team_size = 256}); }

}  // namespace mlkd
