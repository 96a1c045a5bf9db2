#include "losses/meters/accuracy.h"

namespace mlkd {

void accumulate_accuracy(const Stream& stream, StepArena& arena, const Tensor& counters, const Tensor& logits, const Tensor& target,
                         const AddLosses& losses) {
    MLKD_CHECK(logits.shape.rank() == 2 && target.shape == Shape{logits.dim(0)} && counters.shape == Shape{accuracy_counter_count},
               "accuracy: logits " + logits.shape.text() + " and targets " + target.shape.text() + " do not fit");
    const StepArena::Scope scope(arena);
    const std::int64_t rows = logits.dim(0);
    const Tensor row_loss = arena.allocate("accuracy/loss", DType::f32, {rows});
    const Tensor row_rank = arena.allocate("accuracy/rank", DType::i32, {rows});
    const RowAccuracy of_row{row_loss.as<float>(), row_rank.as<std::int32_t>(), logits.as<float>(), target.as<std::int32_t>(), logits.dim(1)};
    const AddBatch sums{{counters.as<double>(), row_loss.as<float>(), row_rank.as<std::int32_t>(), rows}, losses};
    if (has_teams(stream)) return for_each_row(stream, 1, AccuracyOfBatch{of_row, sums}, {.team_size = 1024});
    for_each_row(stream, rows, of_row);
    for_each_row(stream, 1, sums);
}

}  // namespace mlkd
