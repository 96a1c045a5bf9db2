#pragma once
// A training step from the place in the epoch to the updated weights: views, step, meter. Recorded where the device can; both
// forms give the same bits.
#include <cstdint>

#include "apps/evaluate/recorded_work.h"
#include "apps/train/training_step.h"
#include "data/feeds/feed.h"
#include "losses/meters/meter.h"

namespace mlkd {

class StepRunner {
public:
    // use_graph: whether steps are recorded, where the device can. All references must outlive the runner.
    StepRunner(Backend& backend, BatchFeed& feed, TrainingStep& step, LossMeter& meter, bool use_graph);

    // Runs the feed's current batch, of `size` images. Returns as soon as it is enqueued.
    void run(std::int64_t size);
    // The recording of batches of `size`, or nullptr while there is none.
    const Recording* recording(std::int64_t size) const { return work_.recording(size); }

private:
    BatchFeed& feed_;
    TrainingStep& step_;
    RecordedWork work_;
};

}  // namespace mlkd
