#include "apps/train/step_runner.h"

namespace mlkd {

StepRunner::StepRunner(Backend& backend, BatchFeed& feed, TrainingStep& step, LossMeter& meter, bool use_graph)
    : feed_(feed), step_(step), work_(backend, use_graph, [&](std::int64_t) {
          feed.enqueue();
          step.enqueue(feed.images(), feed.target(), &meter);
      }) {}

void StepRunner::run(std::int64_t size) {
    work_.run(size);
    feed_.replayed();
    step_.count_step();
}

}  // namespace mlkd
