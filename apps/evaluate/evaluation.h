#pragma once
// A network on a whole test set: each image exactly once. Throws Stopped at the next batch when a signal was noted (apps/signals.h).
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "apps/evaluate/recorded_work.h"
#include "apps/train/checkpoint.h"
#include "data/feeds/feed.h"
#include "engine/arena.h"
#include "layers/network.h"

namespace mlkd {

struct Evaluation {
    double top1 = 0, top5 = 0;  // percent
    double loss = 0;            // mean cross entropy
    std::int64_t images = 0;
};

// The images of a test set as they are, in its order, in the network's type.
std::unique_ptr<BatchFeed> make_test_feed(Backend& backend, const Network& network, const Dataset& dataset, std::int64_t batch_size);

// Evaluates a network on the same images as often as it is asked. What a batch takes is recorded where the device can.
class Evaluator {
public:
    // `feed` from make_test_feed(). use_graph: whether batches are recorded, where the device can. All references must outlive it.
    Evaluator(Backend& backend, StepArena& arena, Network& network, BatchFeed& feed, bool use_graph);

    // Folds the network's batch norms as they are now. visit(logits (B, classes), on the device until it returns) is called after
    // each batch.
    using Visit = std::function<void(const Tensor& logits)>;
    Evaluation run(const Visit& visit = [](const Tensor&) {});
    // The recording of batches of `size`, or nullptr while there is none.
    const Recording* recording(std::int64_t size) const { return work_.recording(size); }

private:
    void enqueue(std::int64_t size);

    Backend& backend_;
    StepArena& arena_;
    Network& network_;
    BatchFeed& feed_;
    PersistentArena memory_;
    Tensor counters_;                         // (accuracy_counter_count) f64
    std::map<std::int64_t, Tensor> logits_;  // of batches of each size, where the network puts them every time
    RecordedWork work_;
};

// For a dataset that is seen only once. Throws Error when the network's classes are not the dataset's.
Evaluation evaluate(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size);

// Logits (N, classes) f32 of the images in the dataset's order. Throws Error with ExitCode::non_finite, which calls the network
// `what`, where one is infinity or NaN.
std::vector<float> evaluate_logits(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size,
                                   const std::string& what);

// Throws Error with ExitCode::non_finite where the loss is infinity or NaN.
void require_finite(const Evaluation& evaluation, const Dataset& dataset, const std::string& what);

// Says on standard error where the checkpoint of a network names other data. `what` names the file.
void warn_of_other_data(const CheckpointInfo& info, const Dataset& dataset, const std::string& what);

void require_same_classes(const Network& network, const Dataset& dataset, const std::string& what);

}  // namespace mlkd
