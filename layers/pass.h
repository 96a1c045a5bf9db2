#pragma once
// One trip of a batch through a network.
#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/tape.h"

namespace mlkd {

// Training: every operation is recorded, and batch norm uses the statistics of each view's part of the batch.
struct TrainingPass {
    Backend& backend;
    StepArena& arena;
    Tape& tape;
    int views = 1;  // the batch is this many views of equal size, one behind the other
};

// Evaluation: nothing is recorded, batch norms are folded into the filters.
struct EvaluationPass {
    Backend& backend;
    StepArena& arena;
};

}  // namespace mlkd
