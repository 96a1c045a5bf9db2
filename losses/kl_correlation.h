#pragma once
// Batch and class level with the KL divergence between the rows of the correlation matrices.
//
// A level looks at n items of dimension d: the samples (n = B, d = C, X = A), or the classes (n = C, d = B, X = Aᵀ). With
// R_s = X_s X_sᵀ, R_t = X_t X_tᵀ, row sums r, and rows q = R / r, its value is Σ_i Σ_j q_t log(q_t / q_s). Let
//     delta = q_s / q_t - 1 = (D r_t / R_t - rho) / r_s,   D = R_s - R_t = X_s U_xᵀ + U_x X_tᵀ,   rho = r_s - r_t,
// where U_x = X_s - X_t: no digits are lost when the student is close. As Σ_j q_t delta = 0,
//     KL = Σ_j q_t (delta - log(1 + delta)),   M = dKL/dR_s = delta / ((1 + delta) r_s),   dL/dX_s = (M + Mᵀ) X_s.
// Softmax rows sum to 1, so r of class c is Σ_b A_bc, and r of sample b is Σ_c A_bc r_c: no matrix is needed for them.
// R is formed in blocks of rows, so that the memory is linear in n.
//
// Entries of R below 1e-30 (logits hundreds apart) leave float32's range although their logarithms count: they are
// taken in double, one by one, from the logits, and so are their gradients, as H = A · dL/dA.
#include "engine/arena.h"
#include "engine/backend.h"
#include "losses/softmax_difference.h"
#include "losses/terms.h"

namespace mlkd {

// The double-precision softmaxes of an item, from the logits.
struct ItemSoftmax {
    const float* student;        // (V·B, C)
    const float* teacher;        // (V·B, C)
    const SoftmaxScale* scales;  // (terms, B)
    const Term* terms;
    std::int64_t samples;
    std::int64_t classes;
    bool by_class;  // items are classes

    // The logarithms, at dimension k of item i of term t.
    struct Logs {
        double student, teacher;
    };
    MLKD_HD Logs logs(std::int64_t t, std::int64_t i, std::int64_t k) const {
        const std::int64_t sample = by_class ? k : i, c = by_class ? i : k;
        const std::int64_t at = (terms[t].view * samples + sample) * classes + c;
        const SoftmaxScale scale = scales[t * samples + sample];
        const double temperature = terms[t].temperature;
        return {(static_cast<double>(student[at]) - scale.student_reference) / temperature - scale.student_log_sum,
                (static_cast<double>(teacher[at]) - scale.teacher_reference) / temperature - scale.teacher_log_sum};
    }
};

struct ItemSums {
    double student, teacher, difference;  // r_s, r_t, rho
};

struct ClassItemSums {
    ItemSums* sums;            // (terms, C)
    const float* student;      // (terms, C, B): Aᵀ
    const float* teacher;      // (terms, C, B)
    const float* difference;   // (terms, C, B)
    ItemSoftmax softmax;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t n = softmax.samples;
        const float *s = student + row * n, *t = teacher + row * n, *u = difference + row * n;
        double sum_s = 0, sum_t = 0, sum_u = 0;
        for (std::int64_t k = team.rank(); k < n; k += team.size()) {
            sum_s += static_cast<double>(s[k]);
            sum_t += static_cast<double>(t[k]);
            sum_u += static_cast<double>(u[k]);
        }
        ItemSums result{team.sum(sum_s), team.sum(sum_t), team.sum(sum_u)};
        constexpr double float_is_rough = 1e-25;
        if (result.student < float_is_rough || result.teacher < float_is_rough) {
            sum_s = sum_t = 0;
            for (std::int64_t k = team.rank(); k < n; k += team.size()) {
                const ItemSoftmax::Logs logs = softmax.logs(row / softmax.classes, row % softmax.classes, k);
                sum_s += exp(logs.student);
                sum_t += exp(logs.teacher);
            }
            result.student = team.sum(sum_s);
            result.teacher = team.sum(sum_t);
            result.difference = result.student - result.teacher;
        }
        if (team.rank() == 0) sums[row] = result;
    }
};

struct SampleItemSums {
    ItemSums* sums;              // (terms, B)
    const ItemSums* class_sums;  // (terms, C)
    const float* student;        // (terms, B, C)
    const float* teacher;        // (terms, B, C)
    const float* difference;     // (terms, B, C)
    std::int64_t samples;
    std::int64_t classes;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const ItemSums* of = class_sums + row / samples * classes;
        const std::int64_t at = row * classes;
        double sum_s = 0, sum_t = 0, sum_u = 0;
        for (std::int64_t c = team.rank(); c < classes; c += team.size()) {
            const double s = student[at + c], t = teacher[at + c], u = difference[at + c];
            sum_s += s * of[c].student;
            sum_t += t * of[c].teacher;
            sum_u += u * of[c].student + t * of[c].difference;
        }
        const ItemSums result{team.sum(sum_s), team.sum(sum_t), team.sum(sum_u)};
        if (team.rank() == 0) sums[row] = result;
    }
};

// A row is a row of R of one term. D becomes M, weights inside.
struct CorrelationKl {
    static constexpr float float_limit = 1e-29f;  // entries below it are looked at again in double
    static constexpr double double_limit = 1e-30;  // and below this their gradient goes to H

    float* d;             // (terms, rows, n)
    float* item_kl;       // (terms, n)
    float* direct;        // (terms, n, dim): H
    const float* r_s;     // (terms, rows, n)
    const float* r_t;     // (terms, rows, n)
    const ItemSums* sums; // (terms, n)
    const float* masks;   // (2) or nullptr
    ItemSoftmax softmax;  // its arrays start at the first of the terms
    std::int64_t first;   // the item of row 0
    std::int64_t rows;    // of each term

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t n = softmax.by_class ? softmax.classes : softmax.samples;
        const std::int64_t t = row / rows, i = first + row % rows;
        float* m = d + row * n;
        const float *rs = r_s + row * n, *rt = r_t + row * n;
        const ItemSums sum = sums[t * n + i];
        const float weight = weight_of(t);
        const auto sum_s = static_cast<float>(sum.student), sum_t = static_cast<float>(sum.teacher);
        const auto rho = static_cast<float>(sum.difference);
        const float per_sum_s = 1.0f / sum_s, per_sum_t = 1.0f / sum_t;
        float kl = 0;
        int small_entries = 0;
#pragma omp simd reduction(+ : kl) reduction(max : small_entries)
        for (std::int64_t j = team.rank(); j < n; j += team.size()) {
            const float s = rs[j], r = rt[j];
            const bool below = (s < float_limit) | (r < float_limit);
            const float q_s = s * per_sum_s, q_t = r * per_sum_t;
            const float delta = (m[j] / r * sum_t - rho) * per_sum_s;
            const bool near = fabsf(delta) <= 0.3f;
            const float value = near ? q_t * x_minus_log1p(delta) : (q_s - q_t) - q_t * fast_log(q_s / q_t);
            const float slope = near ? delta / (1.0f + delta) : 1.0f - q_t / q_s;
            kl += below ? 0.0f : value;
            m[j] = below ? 0.0f : weight * per_sum_s * slope;
            const int one = below ? 1 : 0;
            small_entries = one > small_entries ? one : small_entries;
        }
        double total = static_cast<double>(team.sum(kl));
        const std::int64_t dim = softmax.by_class ? softmax.samples : softmax.classes;
        float* h = direct + (t * n + i) * dim;
        for (std::int64_t k = team.rank(); k < dim; k += team.size()) h[k] = 0;
        if (team.max(small_entries) > 0)
            for (std::int64_t j = 0; j < n; ++j)
                if ((rs[j] < float_limit) | (rt[j] < float_limit)) total += small_entry(team, m, h, t, i, j);
        if (team.rank() == 0) item_kl[t * n + i] = static_cast<float>(total);
    }

private:
    MLKD_HD float weight_of(std::int64_t t) const {
        const Term term = softmax.terms[t];
        const int level = softmax.by_class ? 1 : 0;
        const std::int64_t n = softmax.by_class ? softmax.classes : softmax.samples;
        return (softmax.by_class ? term.class_ : term.batch) * (masks == nullptr ? 1.0f : masks[level]) / static_cast<float>(n);
    }

    // The value of entry (i, j). Its gradient goes to M, or to H for both items' sake: each row adds its own half.
    template <class Team>
    MLKD_HD double small_entry(const Team& team, float* m, float* h, std::int64_t t, std::int64_t i, std::int64_t j) const {
        const std::int64_t n = softmax.by_class ? softmax.classes : softmax.samples;
        const std::int64_t dim = softmax.by_class ? softmax.samples : softmax.classes;
        double s = 0, r = 0;
        for (std::int64_t k = team.rank(); k < dim; k += team.size()) {
            const ItemSoftmax::Logs at_i = softmax.logs(t, i, k), at_j = softmax.logs(t, j, k);
            s += exp(at_i.student + at_j.student);
            r += exp(at_i.teacher + at_j.teacher);
        }
        constexpr double tiny = 1e-300;  // where double, too, ends
        s = team.sum(s);
        r = team.sum(r);
        const auto floored = [](double x) { return x > tiny ? x : tiny; };
        const auto slope = [&](const ItemSums& sum) { return 1.0 / floored(sum.student) - r / floored(sum.teacher) / floored(s); };
        const ItemSums sum_i = sums[t * n + i];
        const double weight = static_cast<double>(weight_of(t));
        if (s >= double_limit && r >= double_limit) {
            if (team.rank() == 0) m[j] = static_cast<float>(weight * slope(sum_i));
        } else {
            const double both = weight * (slope(sum_i) + slope(sums[t * n + j]));
            for (std::int64_t k = team.rank(); k < dim; k += team.size())
                h[k] += static_cast<float>(both * exp(softmax.logs(t, i, k).student + softmax.logs(t, j, k).student));
        }
        const double q_s = floored(s) / floored(sum_i.student), q_t = r / floored(sum_i.teacher);
        return q_t > 0 ? (q_s - q_t) - q_t * log(q_s / q_t) : q_s;
    }
};

// to (terms, columns, rows) = or += the transposes of from (terms, rows, columns). A row is a block of 16 columns.
struct TransposeEach {
    static constexpr std::int64_t block = 16;
    float* to;
    const float* from;
    std::int64_t rows;
    std::int64_t columns;
    bool accumulate;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t blocks = (columns + block - 1) / block;
        const std::int64_t matrix = row / blocks * rows * columns, first = row % blocks * block;
        for (std::int64_t e = team.rank(); e < rows * block; e += team.size()) {
            const std::int64_t r = e / block, c = first + e % block;
            if (c >= columns) continue;
            const float value = from[matrix + r * columns + c];
            float& place = to[matrix + c * rows + r];
            place = accumulate ? place + value : value;
        }
    }
};

struct KlCorrelationOutputs {
    Tensor dL_dsoftmax;      // (terms, B, C)
    Tensor dL_dlog_softmax;  // (terms, B, C): H
    Tensor batch_sums;       // (terms, B): the KL of each row, without weights
    Tensor class_sums;       // (terms, C)
};

// A level that is not asked for is left out, its sums undefined; at least one is.
void kl_correlation(Backend& backend, StepArena& arena, const KlCorrelationOutputs& outputs, const SoftmaxOutputs& softmaxes,
                    const Tensor& student, const Tensor& teacher, const Term* terms, const float* masks, bool batch_level,
                    bool class_level);

}  // namespace mlkd
