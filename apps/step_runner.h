#pragma once
// A training step from the place in the epoch to the updated weights: views, step, meter. The first step with a batch of some
// size runs launch by launch and settles plans and memory; the second one is recorded where the device can, and from then on
// a step is one launch of the recording. Both forms give the same bits.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "apps/training_step.h"
#include "data/feed.h"
#include "losses/meter.h"

namespace mlkd {

class StepRunner {
public:
    // use_graph: whether steps are recorded, where the device can. All references must outlive the runner.
    StepRunner(Backend& backend, BatchFeed& feed, TrainingStep& step, LossMeter& meter, bool use_graph);

    // Runs the feed's current batch, of `size` images. Returns as soon as it is enqueued.
    void run(std::int64_t size);
    // The recording of batches of `size`, or nullptr while there is none.
    const Recording* recording(std::int64_t size) const;

private:
    struct Kind {
        bool settled = false;
        std::unique_ptr<Recording> recording;
    };
    void enqueue(std::int64_t size);

    Backend& backend_;
    BatchFeed& feed_;
    TrainingStep& step_;
    LossMeter& meter_;
    bool use_graph_;
    std::map<std::int64_t, Kind> kinds_;
};

}  // namespace mlkd
