#pragma once
// The whole loss of small batches in one launch: cross entropy, softmaxes, official masks, correlation levels, gradient in
// the logits and loss parts, of all views, temperatures and levels, with squared distances between correlation matrices.
//
// The rows of the launch are of four kinds, in the order in which they start:
//     masks        one row, where the method has masks
//     softmaxes    a slab of samples of one term: A, A - B, the rows' KL
//     cross entropy  a slab of samples of one view
//     correlation  a slab of samples of one term that correlates; waits for the term's softmaxes and for the masks
// Every row writes its own share of dL/dlogits and of the sums to memory of its own. Of the rows that share a view's slab
// of samples, the one that arrives last adds the shares, always in the order of the terms; of these the last one sums the
// loss parts. So no result depends on which row came last, and no sum is atomic. The waits are those of engine/kernels/arrival.h.
#include "engine/arena.h"
#include "engine/kernels/arrival.h"
#include "engine/kernels/launch.h"
#include "losses/cross_entropy.h"
#include "losses/mlkd/gram_slab.h"
#include "losses/mlkd/logit_gradient.h"
#include "losses/mlkd/official_masks.h"
#include "losses/mlkd/softmax_difference.h"

namespace mlkd {

struct FusedDistillation {
    CrossEntropy<float> cross_entropy;
    SoftmaxDifference softmaxes;
    MasksOfOneRow masks;
    GramSlab correlation;
    LossSums sums;
    int* counters;  // counter_count() zeros; zeros again afterwards
    int views;
    bool has_masks;

    static std::int64_t counter_count(std::int64_t term_count, std::int64_t views, std::int64_t slabs) {
        return 3 + term_count + views * slabs;
    }
    MLKD_HD std::int64_t slabs() const { return correlation.layout.slabs(sums.samples); }
    std::int64_t rows() const { return (has_masks ? 1 : 0) + slabs() * (sums.term_count + views + sums.correlating); }

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        const std::int64_t n = slabs(), masks_rows = has_masks ? 1 : 0;
        const std::int64_t ticket = take_ticket(team, counters) - masks_rows;
        if (ticket < 0) {
            masks(team, 0);
            arrive(team, masks_ready(), 1);
            return;
        }
        const std::int64_t item = ticket / n, slab = ticket % n;
        if (item < sums.term_count)
            softmax_row(team, item, slab);
        else if (item < sums.term_count + views)
            cross_entropy_row(team, item - sums.term_count, slab);
        else
            correlation_row(team, item - sums.term_count - views, slab);
    }

private:
    struct Samples {
        std::int64_t first, end;
    };

    MLKD_HD int* masks_ready() const { return counters + 1; }
    MLKD_HD int* slabs_finished() const { return counters + 2; }
    MLKD_HD int* softmaxes_ready(std::int64_t term) const { return counters + 3 + term; }
    MLKD_HD int* shares_ready(std::int64_t view, std::int64_t slab) const { return counters + 3 + sums.term_count + view * slabs() + slab; }
    MLKD_HD Samples samples_of(std::int64_t slab) const {
        const std::int64_t first = slab * correlation.layout.rows, end = first + correlation.layout.rows;
        return {first, end < sums.samples ? end : sums.samples};
    }

    template <class Team>
    MLKD_HD void softmax_row(const Team& team, std::int64_t t, std::int64_t slab) const {
        const Term term = sums.terms[t];
        const Samples samples = samples_of(slab);
        const auto part = team.part();
        for (std::int64_t b = samples.first + team.part_index(); b < samples.end; b += team.part_count())
            softmaxes(part, t * sums.samples + b);
        if (term.correlates()) {
            arrive(team, softmaxes_ready(t), static_cast<int>(slabs()));
            return;
        }
        if (has_masks && term.instance_masked != 0) wait_for(team, masks_ready(), 1);
        team.sync();
        const float slope = instance_slope(term, has_masks && term.instance_masked != 0 ? sums.masks[0] : 1.0f, sums.samples);
        const std::int64_t at = t * sums.samples * sums.classes;
        for (std::int64_t e = samples.first * sums.classes + team.rank(); e < samples.end * sums.classes; e += team.size())
            correlation.dL_dlogits[at + e] = slope * softmaxes.difference[at + e];
        hand_in(team, term.view, slab);
    }

    template <class Team>
    MLKD_HD void cross_entropy_row(const Team& team, std::int64_t view, std::int64_t slab) const {
        const Samples samples = samples_of(slab);
        const auto part = team.part();
        for (std::int64_t b = samples.first + team.part_index(); b < samples.end; b += team.part_count())
            cross_entropy(part, view * sums.samples + b);
        hand_in(team, view, slab);
    }

    template <class Team>
    MLKD_HD void correlation_row(const Team& team, std::int64_t t, std::int64_t slab) const {
        wait_for(team, softmaxes_ready(t), static_cast<int>(slabs()));
        if (has_masks) wait_for(team, masks_ready(), 1);
        correlation(team, t * slabs() + slab);
        hand_in(team, sums.terms[t].view, slab);
    }

    // What follows once all shares of this slab are there, and then all slabs.
    template <class Team>
    MLKD_HD void hand_in(const Team& team, std::int64_t view, std::int64_t slab) const {
        int shares = 1;
        for (std::int64_t t = 0; t < sums.term_count; ++t) shares += sums.terms[t].view == view ? 1 : 0;
        if (!arrive(team, shares_ready(view, slab), shares)) return;
        add_shares(team, view, samples_of(slab));
        if (!arrive(team, slabs_finished(), static_cast<int>(views * slabs()))) return;
        sums(team, 0);
        const std::int64_t count = shares_ready(views, 0) - counters;
        for (std::int64_t i = team.rank(); i < count; i += team.size()) counters[i] = 0;
    }

    // dL_dlogits, so far the cross entropy's, += the terms' shares, in order.
    template <class Team>
    MLKD_HD void add_shares(const Team& team, std::int64_t view, const Samples& samples) const {
        constexpr int together = 8;  // loads under way at once
        const std::int64_t matrix = sums.samples * sums.classes;
        float* gradient = cross_entropy.dL_dlogits + view * matrix;
        for (std::int64_t e = samples.first * sums.classes + team.rank(); e < samples.end * sums.classes; e += team.size()) {
            float total = gradient[e];
            for (std::int64_t t0 = 0; t0 < sums.term_count; t0 += together) {
                float share[together];
                for (int q = 0; q < together; ++q) {
                    const std::int64_t t = t0 + q;
                    share[q] = t < sums.term_count && sums.terms[t].view == view ? correlation.dL_dlogits[t * matrix + e] : 0.0f;
                }
                for (int q = 0; q < together; ++q) total += share[q];
            }
            gradient[e] = total;
        }
    }
};

// Up to here one launch is meant to be quicker than many: B and C of at most this.
constexpr std::int64_t fused_distillation_limit = 256;

// How many ints a launch of so many terms and views counts with.
std::int64_t fused_counters(std::int64_t term_count, std::int64_t views);

struct FusedInputs {
    Tensor student, teacher;         // (V·B, C); teacher may be empty where there are no terms
    Tensor target;                   // (B)
    const std::vector<Term>& terms;  // those that correlate first, with the squared distance
    const Term* device_terms;        // the same
    int* counters;                   // fused_counters() zeros on the device; zeros again afterwards
    bool official;                   // with the official masks
    float ce_weight;
    float label_smoothing;
};

// Writes losses (5) and dL_dlogits (V·B, C). The workspace comes from the arena; put a Scope around the call.
void fused_distillation(const Stream& stream, StepArena& arena, const Tensor& losses, const Tensor& dL_dlogits, const FusedInputs& inputs);

}  // namespace mlkd
