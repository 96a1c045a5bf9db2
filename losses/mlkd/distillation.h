#pragma once
// Cross entropy and the three levels of multi-level logit distillation (Jin, Wang, Lin, "Multi-Level Logit Distillation",
// CVPR 2023), with their gradient in the student's logits: what the methods none, kd, mlkd and mlkd_official are made of.
//
// For each view v and temperature T let P be the (B, C) matrix of the rows softmax(z / T) of a network. Then
//     instance = Σ T² · mean_b KL(P_t[b] ‖ P_s[b])                  (Hinton, Vinyals, Dean, 2015)
//     batch    = Σ ‖P_t P_tᵀ − P_s P_sᵀ‖²_F / B
//     class    = Σ ‖P_tᵀ P_t − P_sᵀ P_s‖²_F / C
// or, with Divergence::kl, for batch and class the mean over the rows of the correlation matrices, each divided by its
// sum, of KL(teacher ‖ student).
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/tensor.h"

namespace mlkd {

enum class Levels {
    none,      // cross entropy alone
    instance,  // the instance level of the weak view
    paper,     // the three levels on both views, as the paper has them
    released   // as the released code has them: masks, and batch and class on the weak view only (terms.cpp)
};
enum class Divergence { frobenius, kl };  // between correlation matrices

struct DistillationConfig {
    Levels levels = Levels::none;
    std::vector<float> temperatures = {4};
    float ce_weight = 1;        // of the cross entropy, summed over the views
    float label_smoothing = 0;  // of the cross entropy's targets, in [0, 1)
    float kd_weight = 0;        // of all three levels
    float instance_weight = 1;  // extra factors, one for each level
    float batch_weight = 1;
    float class_weight = 1;
    Divergence divergence = Divergence::frobenius;
    bool logit_standardization = false;  // in the instance level (Sun et al., "Logit Standardization in KD", CVPR 2024)
};

// Throws UsageError naming the key that is empty, not finite, negative, or a temperature that is not positive.
void validate(const DistillationConfig& config);

// How many views of each sample the levels look at: the weak one, or the weak and the strong one.
int view_count(Levels levels);

// Places in the vector of losses; weights are inside.
struct LossPart {
    enum Index { ce, instance, batch, class_, total };
};
constexpr int loss_part_count = 5;

// How a step is computed: in one launch (fused_distillation.h: at most 256 samples and classes, squared distances), or in
// several around matrix products of the backend, which has no such limits. The results agree up to rounding.
enum class LossForm {
    automatic,  // one launch where it can be and teams have many members: on a GPU
    fused,      // forward_backward throws Error where it cannot
    separate
};

struct Term;

class DistillationLoss {
public:
    DistillationLoss(Backend& backend, DistillationConfig config, LossForm form = LossForm::automatic);
    ~DistillationLoss();
    DistillationLoss(const DistillationLoss&) = delete;
    DistillationLoss& operator=(const DistillationLoss&) = delete;

    // student, teacher (V·B, C) f32, the rows of the weak view first; teacher is empty for Levels::none. target (B) i32,
    // each in [0, C). Writes losses (5) f32, see LossPart, or (2) or (3) without parts that are always 0, and dL_dlogits (V·B, C) f32, the
    // gradient of the total with respect to student. Logits that are not finite give losses that are not finite. Nothing is read back. The
    // workspace comes from the arena, inside a Scope. Throws Error where shapes do not fit or C < 2.
    void forward_backward(StepArena& arena, const Tensor& losses, const Tensor& dL_dlogits, const Tensor& student, const Tensor& teacher,
                          const Tensor& target);

    const DistillationConfig& config() const { return config_; }

private:
    struct Step;  // the tensors of one call

    bool fuses(std::int64_t samples, std::int64_t classes) const;
    void add_terms(StepArena& arena, const Step& step, std::size_t first, std::size_t count);

    Backend& backend_;
    DistillationConfig config_;
    LossForm form_;
    std::vector<Term> terms_;
    std::int64_t correlating_ = 0;  // the first ones of the terms
    Term* device_terms_ = nullptr;
    int* counters_ = nullptr;  // of the launch that does all
};

}  // namespace mlkd
