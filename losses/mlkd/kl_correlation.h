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
// Entries of R below 1e-30 (logits tens apart) leave float32's range although their logarithms count. They are taken in
// double, one by one, as logarithms from the logits, and so are their gradients, as H = A · dL/dA: with
// w_k = A_ik A_jk / R_ij,  entry (i, j) gives H_ik and H_jk each (q_s - q_t) w_k.
#include "engine/arena.h"
#include "engine/backend.h"
#include "losses/mlkd/softmax_difference.h"
#include "losses/mlkd/terms.h"

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
    double log_student, log_teacher;      // logarithms of the first two, which may be beyond a double
};

// log Σ_k exp(x(k)) over the members' k, for k < n.
template <class Team, class X>
MLKD_HD double log_sum_exp(const Team& team, std::int64_t n, const X& x) {
    double maximum = -INFINITY;
    for (std::int64_t k = team.rank(); k < n; k += team.size()) maximum = x(k) > maximum ? x(k) : maximum;
    maximum = team.max(maximum);
    double sum = 0;
    for (std::int64_t k = team.rank(); k < n; k += team.size()) sum += exp(x(k) - maximum);
    return maximum + log(team.sum(sum));
}

MLKD_HD inline ItemSums item_sums(double student, double teacher, double difference) {
    return {student, teacher, difference, log(student), log(teacher)};
}

struct ClassItemSums {
    ItemSums* sums;           // (terms, C)
    const float* student;     // (terms, C, B): Aᵀ
    const float* teacher;     // (terms, C, B)
    const float* difference;  // (terms, C, B)
    ItemSoftmax softmax;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t n = softmax.samples;
        const float *s = student + row * n, *t = teacher + row * n, *u = difference + row * n;
        double sum_s = 0, sum_t = 0, sum_u = 0;
        for (std::int64_t k = team.rank(); k < n; k += team.size()) {
            sum_s += static_cast<double>(s[k]);
            sum_t += static_cast<double>(t[k]);
            sum_u += static_cast<double>(u[k]);
        }
        ItemSums result = item_sums(team.sum(sum_s), team.sum(sum_t), team.sum(sum_u));
        constexpr double float_is_rough = 1e-25;
        if (result.student < float_is_rough || result.teacher < float_is_rough) {
            const std::int64_t term = row / softmax.classes, c = row % softmax.classes;
            result.log_student = log_sum_exp(team, n, [&](std::int64_t k) { return softmax.logs(term, c, k).student; });
            result.log_teacher = log_sum_exp(team, n, [&](std::int64_t k) { return softmax.logs(term, c, k).teacher; });
            result.student = exp(result.log_student);
            result.teacher = exp(result.log_teacher);
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

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const ItemSums* of = class_sums + row / samples * classes;
        const std::int64_t at = row * classes;
        double sum_s = 0, sum_t = 0, sum_u = 0;
        for (std::int64_t c = team.rank(); c < classes; c += team.size()) {
            const double s = student[at + c], t = teacher[at + c], u = difference[at + c];
            sum_s += s * of[c].student;
            sum_t += t * of[c].teacher;
            sum_u += u * of[c].student + t * of[c].difference;
        }
        const ItemSums result = item_sums(team.sum(sum_s), team.sum(sum_t), team.sum(sum_u));
        if (team.rank() == 0) sums[row] = result;
    }
};

// A row is a row of R of one term. D becomes M, weights inside.
struct CorrelationKl {
    static constexpr float float_limit = 1e-29f;       // entries below it are looked at again in double
    static constexpr double log_double_limit = -69.0;  // and below e^-69 = 1e-30 their gradient goes to H

    // D is exact where the student is close, but loses an entry that is small only because of what cancels in it: then
    // it disagrees with the quotient of the q, which is right to float32's rounding.
    static constexpr float agreement = 1e-5f;

    float* d;              // (terms, rows, n)
    float* item_kl;        // (terms, n)
    float* direct;         // (terms, n, dim): H
    const float* r_s;      // (terms, rows, n)
    const float* r_t;      // (terms, rows, n)
    const ItemSums* sums;  // (terms, n)
    const float* masks;    // (2) or nullptr
    ItemSoftmax softmax;   // its arrays start at the first of the terms
    std::int64_t first;    // the item of row 0
    std::int64_t rows;     // of each term

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
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
            const float exact_delta = n == 1 ? 0.0f : (m[j] / r * sum_t - rho) * per_sum_s;
            const float ratio = q_s / q_t;
            const bool near = (fabsf(ratio - 1.0f) <= 0.3f) & (fabsf(exact_delta - (ratio - 1.0f)) <= agreement);
            const float value = near ? q_t * x_minus_log1p(exact_delta) : (q_s - q_t) - q_t * fast_log(ratio);
            const float slope = near ? exact_delta / (1.0f + exact_delta) : 1.0f - 1.0f / ratio;
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
        const double log_s =
            log_sum_exp(team, dim, [&](std::int64_t k) { return softmax.logs(t, i, k).student + softmax.logs(t, j, k).student; });
        const double log_t =
            log_sum_exp(team, dim, [&](std::int64_t k) { return softmax.logs(t, i, k).teacher + softmax.logs(t, j, k).teacher; });
        const ItemSums sum_i = sums[t * n + i], sum_j = sums[t * n + j];
        const double log_q_s = log_s - sum_i.log_student, log_q_t = log_t - sum_i.log_teacher;
        const double q_s = exp(log_q_s), q_t = exp(log_q_t), weight = static_cast<double>(weight_of(t));
        if (log_s >= log_double_limit && log_t >= log_double_limit) {
            if (team.rank() == 0) m[j] = static_cast<float>(weight * (1.0 - exp(log_q_t - log_q_s)) / sum_i.student);
        } else {
            const double other_q_s = exp(log_s - sum_j.log_student), other_q_t = exp(log_t - sum_j.log_teacher);
            const double both = weight * ((q_s - q_t) + (other_q_s - other_q_t));
            for (std::int64_t k = team.rank(); k < dim; k += team.size())
                h[k] += static_cast<float>(both * exp(softmax.logs(t, i, k).student + softmax.logs(t, j, k).student - log_s));
        }
        return (q_s - q_t) - (q_t > 0 ? q_t * (log_q_s - log_q_t) : 0.0);
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

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
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
