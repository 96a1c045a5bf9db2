#include "losses/mlkd/softmax_difference.h"

namespace mlkd {

void softmax_difference(const Stream& stream, const SoftmaxOutputs& outputs, const Tensor& student, const Tensor& teacher,
                        const Term* terms) {
    static_assert(sizeof(SoftmaxScale) == 4 * sizeof(float));
    const std::int64_t count = outputs.difference.dim(0), samples = outputs.difference.dim(1), classes = outputs.difference.dim(2);
    for_each_row(stream, count * samples,
                 SoftmaxDifference{outputs.student_softmax.as<float>(), outputs.difference.as<float>(),
                                   outputs.teacher_softmax.empty() ? nullptr : outputs.teacher_softmax.as<float>(),
                                   outputs.row_kl.as<float>(), static_cast<SoftmaxScale*>(outputs.scales.data), student.as<float>(),
                                   teacher.as<float>(), terms, samples, classes});
}

}  // namespace mlkd
