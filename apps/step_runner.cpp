#include "apps/step_runner.h"

namespace mlkd {

StepRunner::StepRunner(Backend& backend, BatchFeed& feed, TrainingStep& step, LossMeter& meter, bool use_graph)
    : backend_(backend), feed_(feed), step_(step), meter_(meter), use_graph_(use_graph) {}

void StepRunner::run(std::int64_t size) {
    Kind& kind = kinds_[size];
    if (use_graph_ && kind.settled && kind.recording == nullptr) {
        kind.recording = backend_.record([&] { enqueue(size); });
        use_graph_ = kind.recording != nullptr;
    }
    if (kind.recording != nullptr)
        kind.recording->replay();
    else
        enqueue(size);
    kind.settled = true;
    step_.count();
}

const Recording* StepRunner::recording(std::int64_t size) const {
    const auto found = kinds_.find(size);
    return found == kinds_.end() ? nullptr : found->second.recording.get();
}

void StepRunner::enqueue(std::int64_t size) {
    feed_.make();
    step_.enqueue(feed_.images(), feed_.target());
    meter_.add(step_.losses(), size);
}

}  // namespace mlkd
