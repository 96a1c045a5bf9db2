#pragma once
// The last steps of the loss: from gradients in the softmaxes to the gradient in the logits, and the sums of values.
#include "engine/launch.h"
#include "engine/tensor.h"
#include "losses/row_math.h"
#include "losses/terms.h"

namespace mlkd {

// Adds to a row of dL_dlogits, term by term in order, what the instance level and the correlation levels give it:
//     instance: weight · T / B · difference,     correlation: (H - A ΣH) / T  with H = A · dL/dA.
// dL/dA is counted from its value at the student's largest logit, and ΣH without that place: so a student that is sure
// keeps the digits of what is left to it.
struct LogitGradient {
    float* dL_dlogits;             // (V·B, C), accumulated
    const float* difference;       // (terms, B, C), see SoftmaxDifference
    const float* student_softmax;  // (terms, B, C): A
    const float* dL_dsoftmax;      // (terms, B, C): dL/dA; used where the term correlates
    const float* dL_dlog_softmax;  // (terms, B, C) or nullptr: a part of H that is given directly
    const float* student;          // (V·B, C)
    const Term* terms;
    const float* masks;  // (2) or nullptr
    std::int64_t term_count;
    std::int64_t samples;
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t view = row / samples, sample = row % samples;
        const float mask = masks == nullptr ? 1.0f : masks[0];
        float* gradient = dL_dlogits + row * classes;
        const std::int64_t j = row_maximum(team, student + row * classes, classes).place;
        for (std::int64_t t = 0; t < term_count; ++t) {
            const Term term = terms[t];
            if (term.view != view) continue;
            const std::int64_t at = (t * samples + sample) * classes;
            const float* u = difference + at;
            const float weight = (term.instance + term.instance_masked * mask) * term.temperature / static_cast<float>(samples);
            if (!term.correlates()) {
#pragma omp simd
                for (std::int64_t k = team.rank(); k < classes; k += team.size()) gradient[k] += weight * u[k];
                continue;
            }
            const float* a = student_softmax + at;
            const float* g = dL_dsoftmax + at;
            const float* h = dL_dlog_softmax == nullptr ? nullptr : dL_dlog_softmax + at;
            const float per_temperature = 1.0f / term.temperature;
            const float g_j = g[j];
            float total = 0;
#pragma omp simd reduction(+ : total)
            for (std::int64_t k = team.rank(); k < classes; k += team.size()) total += a[k] * (g[k] - g_j);
            total = team.sum(total);
#pragma omp simd
            for (std::int64_t k = team.rank(); k < classes; k += team.size())
                gradient[k] += per_temperature * (a[k] * ((g[k] - g_j) - total)) + weight * u[k];
            if (h == nullptr) continue;
            float others_h = 0, others_a = 0;
#pragma omp simd reduction(+ : others_h, others_a)
            for (std::int64_t k = team.rank(); k < classes; k += team.size()) {
                others_h += k == j ? 0.0f : h[k];
                others_a += k == j ? 0.0f : a[k];
            }
            others_h = team.sum(others_h);
            others_a = team.sum(others_a);
            const float sum_h = others_h + h[j], at_j = others_a * h[j] - a[j] * others_h;
#pragma omp simd
            for (std::int64_t k = team.rank(); k < classes; k += team.size())
                gradient[k] += per_temperature * (k == j ? at_j : h[k] - a[k] * sum_h);
        }
    }
};

void logit_gradient(const Stream& stream, const Tensor& dL_dlogits, const Tensor& difference, const Tensor& student_softmax,
                    const Tensor& dL_dsoftmax, const Tensor& dL_dlog_softmax, const Tensor& student, const Term* terms, const float* masks);

// Sums the values of all rows and terms, in double and in fixed order. One row.
struct LossSums {
    float* losses;            // (5), see LossPart
    const float* row_ce;      // (V·B)
    const float* row_kl;      // (terms, B)
    const float* batch_sums;  // (correlating terms, batch_parts)
    const float* class_sums;  // (correlating terms, class_parts)
    const Term* terms;        // those that correlate first
    const float* masks;       // (2) or nullptr
    float ce_weight;
    std::int64_t rows;
    std::int64_t samples;
    std::int64_t classes;
    std::int64_t term_count;
    std::int64_t correlating;
    std::int64_t batch_parts;
    std::int64_t class_parts;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        const double b = static_cast<double>(samples), c = static_cast<double>(classes);
        const double mask_b = masks == nullptr ? 1.0 : masks[0], mask_c = masks == nullptr ? 1.0 : masks[1];
        const double ce = ce_weight == 0 ? 0.0 : ce_weight * sum(team, row_ce, rows) / b;
        double instance = 0, batch = 0, class_ = 0;
        for (std::int64_t t = 0; t < term_count; ++t) {
            const Term term = terms[t];
            const double temperature = term.temperature;
            const double weight = term.instance + term.instance_masked * mask_b;
            if (weight != 0) instance += weight * temperature * temperature * sum(team, row_kl + t * samples, samples) / b;
            if (t >= correlating) continue;
            if (term.batch != 0) batch += term.batch * mask_b * sum(team, batch_sums + t * batch_parts, batch_parts) / b;
            if (term.class_ != 0) class_ += term.class_ * mask_c * sum(team, class_sums + t * class_parts, class_parts) / c;
        }
        if (team.rank() == 0) {
            losses[LossPart::ce] = static_cast<float>(ce);
            losses[LossPart::instance] = static_cast<float>(instance);
            losses[LossPart::batch] = static_cast<float>(batch);
            losses[LossPart::class_] = static_cast<float>(class_);
            losses[LossPart::total] = static_cast<float>(ce + instance + batch + class_);
        }
    }

private:
    template <class Team>
    MLKD_HD static double sum(const Team& team, const float* values, std::int64_t n) {
        double total = 0;
        for (std::int64_t i = team.rank(); i < n; i += team.size()) total += static_cast<double>(values[i]);
        return team.sum(total);
    }
};

void loss_sums(const Stream& stream, const LossSums& sums);

}  // namespace mlkd
