#pragma once
// The last steps of the loss: from gradients in the softmaxes to the gradient in the logits, and the sums of values.
#include "engine/kernels/launch.h"
#include "engine/tensor.h"
#include "losses/mlkd/terms.h"
#include "losses/row_math.h"

namespace mlkd {

// The factor of A - B in the instance level's gradient.
MLKD_HD inline float instance_slope(const Term& term, float mask, std::int64_t samples) {
    return (term.instance + term.instance_masked * mask) * term.temperature / static_cast<float>(samples);
}

// dL/dA of a row to dL/dlogits: (H - A ΣH) / T with H = A · dL/dA. dL/dA is counted from its value at the student's
// largest logit j, and ΣH without that place: so a student that is sure keeps the digits of what is left to it.
struct SoftmaxChain {
    float per_temperature, origin, total;

    template <class Team>
    MLKD_HD SoftmaxChain(const Team& team, const float* a, const float* dL_da, std::int64_t classes, std::int64_t j, float temperature)
        : per_temperature(1.0f / temperature), origin(dL_da[j]) {
        total = row_sum<float>(team, classes, [&](std::int64_t k) { return a[k] * (dL_da[k] - origin); });
    }
    MLKD_HD float operator()(float a, float dL_da) const { return per_temperature * (a * ((dL_da - origin) - total)); }
};

// Adds to a row of dL_dlogits, term by term in order, what the instance level and the correlation levels give it:
//     instance: weight · T / B · difference,     correlation: (H - A ΣH) / T.
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
            const float weight = instance_slope(term, mask, samples);
            if (!term.correlates()) {
#pragma omp simd
                for (std::int64_t k = team.rank(); k < classes; k += team.size()) gradient[k] += weight * u[k];
                continue;
            }
            const float* a = student_softmax + at;
            const float* g = dL_dsoftmax + at;
            const float* h = dL_dlog_softmax == nullptr ? nullptr : dL_dlog_softmax + at;
            const SoftmaxChain chain(team, a, g, classes, j, term.temperature);
#pragma omp simd
            for (std::int64_t k = team.rank(); k < classes; k += team.size()) gradient[k] += chain(a[k], g[k]) + weight * u[k];
            if (h == nullptr) continue;
            const float others_h = row_sum<float>(team, classes, [&](std::int64_t k) { return k == j ? 0.0f : h[k]; });
            const float others_a = row_sum<float>(team, classes, [&](std::int64_t k) { return k == j ? 0.0f : a[k]; });
            const float sum_h = others_h + h[j], at_j = others_a * h[j] - a[j] * others_h;
#pragma omp simd
            for (std::int64_t k = team.rank(); k < classes; k += team.size())
                gradient[k] += chain.per_temperature * (k == j ? at_j : h[k] - a[k] * sum_h);
        }
    }
};

void logit_gradient(const Stream& stream, const Tensor& dL_dlogits, const Tensor& difference, const Tensor& student_softmax,
                    const Tensor& dL_dsoftmax, const Tensor& dL_dlog_softmax, const Tensor& student, const Term* terms, const float* masks);

// Sums the values of all rows and terms, in double and in fixed order. One row.
struct LossSums {
    float* losses;  // (parts + 1): the first ones of LossPart, and the total
    int parts;
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
        double ce = 0;
        if (ce_weight != 0)
            for (std::int64_t i = team.rank(); i < rows; i += team.size()) ce += ce_weight / b * static_cast<double>(row_ce[i]);
        double instance = sum(team, row_kl, term_count, samples, [&](const Term& term) {
            const double temperature = term.temperature;
            return (term.instance + term.instance_masked * mask_b) * temperature * temperature / b;
        });
        double batch = sum(team, batch_sums, correlating, batch_parts, [&](const Term& term) { return term.batch * mask_b / b; });
        double class_ = sum(team, class_sums, correlating, class_parts, [&](const Term& term) { return term.class_ * mask_c / c; });
        ce = team.sum(ce);
        instance = team.sum(instance);
        batch = team.sum(batch);
        class_ = team.sum(class_);
        if (team.rank() == 0) {
            const double values[] = {ce, instance, batch, class_};
            double total = 0;
            for (int part = 0; part < parts; ++part) {
                losses[part] = static_cast<float>(values[part]);
                total += values[part];
            }
            losses[parts] = static_cast<float>(total);
        }
    }

private:
    // This member's part of Σ weight(term) · values (term_count, n); what has no weight is not looked at. All terms' values are
    // shared out at once: term by term, a team would wait for its few loads each time.
    template <class Team, class Weight>
    MLKD_HD double sum(const Team& team, const float* values, std::int64_t count, std::int64_t n, const Weight& weight) const {
        double total = 0;
        for (std::int64_t t = 0, i = team.rank(); t < count; ++t, i -= n) {
            if (i >= n) continue;
            const double factor = weight(terms[t]);
            for (; i < n; i += team.size())
                if (factor != 0) total += factor * static_cast<double>(values[t * n + i]);
        }
        return total;
    }
};

void loss_sums(const Stream& stream, const LossSums& sums);

}  // namespace mlkd
