#pragma once
// What the levels add up: a list of terms, one for each view and temperature.
#include <vector>

#include "engine/kernels/device_code.h"
#include "losses/mlkd/distillation.h"

namespace mlkd {

// One view at one temperature T. Its share of the loss, with m_b and m_c the means of the official masks (else 1), B samples and C classes:
//     (instance + instance_masked · m_b) · T² / B · Σ_b KL(teacher ‖ student)
//     + batch · m_b / B · (distance of the B × B matrices) + class_ · m_c / C · (distance of the C × C matrices)
struct Term {
    int view = 0;
    int standardized = 0;  // logits are standardised first
    float temperature = 1;
    float instance = 0;
    float instance_masked = 0;
    float batch = 0;
    float class_ = 0;

    MLKD_HD bool correlates() const { return batch != 0 || class_ != 0; }
};

// Without the terms of weight 0; equal ones are added up; those that correlate come first.
std::vector<Term> terms_of(const DistillationConfig& config);

}  // namespace mlkd
