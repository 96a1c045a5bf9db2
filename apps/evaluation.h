#pragma once
// A network on a whole test set: each image exactly once.
#include <vector>

#include "data/dataset.h"
#include "engine/arena.h"
#include "layers/network.h"

namespace mlkd {

struct Evaluation {
    double top1 = 0, top5 = 0;  // percent
    double loss = 0;            // mean cross entropy
    std::int64_t images = 0;
};

// Folds the network's batch norms as they are now. Throws Error when the network's classes are not the dataset's.
Evaluation evaluate(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size);

// Logits (N, classes) of the images in the dataset's order.
std::vector<float> evaluate_logits(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size);

void require_same_classes(const Network& network, const Dataset& dataset, const std::string& what);

}  // namespace mlkd
