#include "losses/mlkd/official_masks.h"

namespace mlkd {

void official_masks(const Stream& stream, StepArena& arena, const Tensor& shares, const Tensor& teacher_weak) {
    const std::int64_t samples = teacher_weak.dim(0), classes = teacher_weak.dim(1);
    const StepArena::Scope scope(arena);
    const Tensor softmax = arena.allocate("loss/mask softmax", DType::f64, {samples, classes});
    const Tensor confidence = arena.allocate("loss/mask confidence", DType::f64, {samples});
    const Tensor class_sums = arena.allocate("loss/mask class sums", DType::f64, {classes});
    for_each_row(stream, samples, SoftmaxDouble{softmax.as<double>(), confidence.as<double>(), teacher_weak.as<float>(), classes});
    for_each_row(stream, (classes + ColumnSums::block - 1) / ColumnSums::block,
                 ColumnSums{class_sums.as<double>(), softmax.as<double>(), samples, classes}, {.team_size = 32});
    for_each_row(stream, 2, MedianShare{shares.as<float>(), confidence.as<double>(), class_sums.as<double>(), samples, classes},
                 {.team_size = 1024});
}

}  // namespace mlkd
