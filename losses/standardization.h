#pragma once
// Logit standardization (Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024) around any method: its terms of
// the teacher see each row of logits z as (z − mean) / (1e-7 + deviation), with the n − 1 divisor. (kd and mlkd have it inside their
// kernels, which keep the digits of close rows: mlkd/softmax_difference.h.)
//
//     StandardizedLogits logits(call, standardized);
//     … reads logits.student and logits.teacher, adds to logits.gradient …
//     logits.finish();
#include "losses/method.h"

namespace mlkd {

struct StandardizedLogits {
    // Where `standardized` is false, these are the call's own tensors, and finish() does nothing. Else they take workspace.
    StandardizedLogits(const LossCall& call, bool standardized);

    Tensor student, teacher;  // (V·B, C)
    Tensor gradient;          // (V·B, C): in `student`, to be added to
    // Adds the gradient in the logits to the call's.
    void finish() const;

private:
    const LossCall& call_;
    bool standardized_;
};

}  // namespace mlkd
