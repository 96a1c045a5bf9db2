#pragma once
// The softmaxes of teacher and student, and their difference without cancellation.
//
// With B the teacher's and A the student's softmax of a row, l = log A - log B, and so
//     A - B = B · (e^l - 1),     KL(B ‖ A) = Σ B (e^l - 1 - l)     (as Σ B (e^l - 1) = 0),
// which keep full relative accuracy however close the student is, if l does. Logits are counted from the place j of the
// teacher's maximum: l_k = d_k - log(Z_s / Z_t) with d_k = (zs_k - zt_k) - (zs_j - zt_j), over T, and
//     Z_s / Z_t - 1 = Σ_k e^(zt_k - zt_j) (e^d_k - 1) / Z_t,
// where a teacher that is sure of j makes every addend small. Where |l| > 1/2, and in rows whose student is sure of
// another class, A - B loses nothing and is taken directly.
//
// A - B sums to 0. What its float32 numbers sum to instead comes from the rounding of log(Z_s / Z_t), which all l share, and products
// A (A - B)ᵀ, whose addends cancel, enlarge it. It is taken back: l - r for all l changes A - B by -r A.
#include "engine/kernels/launch.h"
#include "engine/tensor.h"
#include "losses/mlkd/terms.h"
#include "losses/row_math.h"

namespace mlkd {

// What the double-precision path of the correlation's KL divergence needs to form a softmax again:
// softmax_k = exp((z_k - reference) / T) / exp(log_sum).
struct SoftmaxScale {
    float student_reference, student_log_sum;
    float teacher_reference, teacher_log_sum;
};

// The affine maps of a row of logits that standardisation and temperature come to, with logits counted from place j:
// x = student · zs or teacher · zt, and the difference of the two is
// d = of_difference · (zs - zt) + of_student · zs + of_teacher · zt.
struct RowScaling {
    float student, teacher;
    float of_difference, of_student, of_teacher;
    float mean;   // of zs
    float chain;  // the factor of (c · u) c in the gradient, c = zs - mean; standardised rows alone

    MLKD_HD float d(float difference, float zs, float zt) const {
        return fmaf(of_student, zs, fmaf(of_teacher, zt, of_difference * difference));
    }
};

struct SoftmaxDifference {
    // (terms, B, C). In a standardised term `difference` is J'(A - B), J the derivative of the standardisation.
    float* student_softmax;
    float* difference;
    float* teacher_softmax;  // or nullptr
    float* row_kl;           // (terms, B)
    SoftmaxScale* scales;    // (terms, B), or nullptr
    const float* student;    // (V·B, C)
    const float* teacher;    // (V·B, C)
    const Term* terms;
    std::int64_t samples;
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const Term term = terms[row / samples];
        const std::int64_t first_logit = (term.view * samples + row % samples) * classes;
        const float* zs = student + first_logit;
        const float* zt = teacher + first_logit;
        float* a = student_softmax + row * classes;
        float* u = difference + row * classes;
        float* b = teacher_softmax == nullptr ? nullptr : teacher_softmax + row * classes;

        const std::int64_t j = row_maximum(team, zt, classes).place;
        const float student_maximum = row_maximum(team, zs, classes).value;
        const float zt_j = zt[j], zs_j = zs[j], difference_j = zs_j - zt_j;
        const RowScaling scaling = term.standardized ? standardized(team, zs, zt, j, term.temperature) : plain(term.temperature);

        constexpr float sure_of_another_class = 8;  // then A_j < e^-8: far from B_j, which is the largest
        const bool near = !((student_maximum - zs_j) * scaling.student > sure_of_another_class);
        const float reference = near ? zs_j : student_maximum;
        float teacher_sum = 0, student_sum = 0, growth = 0;
        in_runs(team, classes, [&](std::int64_t first, std::int64_t end) {
            float teacher_part = 0, student_part = 0, growth_part = 0;
#pragma omp simd reduction(+ : teacher_part, student_part, growth_part)
            for (std::int64_t k = first + team.rank(); k < end; k += team.size()) {
                const float from_j = zt[k] - zt_j;
                const float d = scaling.d((zs[k] - zt[k]) - difference_j, zs[k] - zs_j, from_j);
                const float e_t = fast_exp(scaling.teacher * from_j);
                const float e_s = fast_exp(scaling.student * (zs[k] - reference));
                const bool small = near & (fabsf(d) <= 0.5f);
                const float gain = small ? e_t * (d + expm1_minus_x(d)) : e_s - e_t;
                const float e_a = small ? e_t + gain : e_s;
                u[k] = e_t;
                a[k] = e_a;
                teacher_part += e_t;
                student_part += e_a;
                growth_part += gain;
            }
            teacher_sum += teacher_part;
            student_sum += student_part;
            growth += growth_part;
        });
        teacher_sum = team.sum(teacher_sum);
        student_sum = team.sum(student_sum);
        growth = team.sum(growth);

        const bool similar = near && fabsf(growth) < 0.5f * teacher_sum;
        const float log_ratio =
            similar ? log1pf(growth / teacher_sum) : logf(student_sum / teacher_sum) + scaling.student * (reference - zs_j);
        const float per_teacher_sum = 1.0f / teacher_sum, per_student_sum = 1.0f / student_sum;
        float kl = 0, rest = 0;
        in_runs(team, classes, [&](std::int64_t first, std::int64_t end) {
            float kl_part = 0, rest_part = 0;
#pragma omp simd reduction(+ : kl_part, rest_part)
            for (std::int64_t k = first + team.rank(); k < end; k += team.size()) {
                const float p_t = u[k] * per_teacher_sum;
                const float p_s = a[k] * per_student_sum;
                const float d = scaling.d((zs[k] - zt[k]) - difference_j, zs[k] - zs_j, zt[k] - zt_j);
                const float l = d - log_ratio;
                const bool small = near & (fabsf(l) <= 0.5f);
                const float curvature = expm1_minus_x(l);
                const float p_u = small ? p_t * (l + curvature) : p_s - p_t;
                kl_part += small ? p_t * curvature : (p_s - p_t) - p_t * l;
                rest_part += p_u;
                a[k] = p_s;
                u[k] = p_u;
            }
            kl += kl_part;
            rest += rest_part;
        });
        kl = team.sum(kl);
        constexpr std::int64_t few_classes = 256;  // it does not show there, and would cost them a pass
        if (classes > few_classes) {
            rest = team.sum(rest);
#pragma omp simd
            for (std::int64_t k = team.rank(); k < classes; k += team.size()) u[k] -= rest * a[k];
        }
        if (b != nullptr)
            for (std::int64_t k = team.rank(); k < classes; k += team.size())
                b[k] = fast_exp(scaling.teacher * (zt[k] - zt_j)) * per_teacher_sum;
        if (term.standardized) through_standardization(team, u, zs, zs_j, scaling, term.temperature);
        if (team.rank() == 0) {
            row_kl[row] = kl;
            if (scales != nullptr) scales[row] = {reference, logf(student_sum), zt_j, logf(teacher_sum)};
        }
    }

private:
    MLKD_HD static RowScaling plain(float temperature) {
        const float scale = 1.0f / temperature;
        return {scale, scale, scale, 0, 0, 0, 0};
    }

    // z -> (z - mean) / (1e-7 + std) / T. The difference of the two standardised rows is formed from zs - zt, and that
    // of the two variances from (zs - zt)(zs + zt), so that close rows keep their digits; rows of quite different
    // deviation are better off with the plain difference.
    template <class Team>
    MLKD_HD RowScaling standardized(const Team& team, const float* zs, const float* zt, std::int64_t j, float temperature) const {
        const auto n = static_cast<float>(classes);
        const float zt_j = zt[j], zs_j = zs[j], difference_j = zs_j - zt_j;
        float mean_s = 0, mean_t = 0, mean_difference = 0;
        in_runs(team, classes, [&](std::int64_t first, std::int64_t end) {
            float part_s = 0, part_t = 0, part_difference = 0;
#pragma omp simd reduction(+ : part_s, part_t, part_difference)
            for (std::int64_t k = first + team.rank(); k < end; k += team.size()) {
                part_s += zs[k] - zs_j;
                part_t += zt[k] - zt_j;
                part_difference += (zs[k] - zt[k]) - difference_j;
            }
            mean_s += part_s;
            mean_t += part_t;
            mean_difference += part_difference;
        });
        mean_s = team.sum(mean_s) / n;
        mean_t = team.sum(mean_t) / n;
        mean_difference = team.sum(mean_difference) / n;
        float squares_s = 0, squares_t = 0, squares_difference = 0;
        in_runs(team, classes, [&](std::int64_t first, std::int64_t end) {
            float part_s = 0, part_t = 0, part_difference = 0;
#pragma omp simd reduction(+ : part_s, part_t, part_difference)
            for (std::int64_t k = first + team.rank(); k < end; k += team.size()) {
                const float centred_s = zs[k] - zs_j - mean_s, centred_t = zt[k] - zt_j - mean_t;
                part_s += centred_s * centred_s;
                part_t += centred_t * centred_t;
                part_difference += ((zs[k] - zt[k]) - difference_j - mean_difference) * (centred_s + centred_t);
            }
            squares_s += part_s;
            squares_t += part_t;
            squares_difference += part_difference;
        });
        const float std_s = sqrtf(team.sum(squares_s) / (n - 1)), std_t = sqrtf(team.sum(squares_t) / (n - 1));
        const float variance_difference = team.sum(squares_difference) / (n - 1);  // student's minus teacher's
        constexpr float epsilon = 1e-7f;
        const float s = std_s + epsilon, t = std_t + epsilon;
        const float chain = std_s > 0 ? 1.0f / ((n - 1) * std_s * s) : 0.0f;
        const float scale_s = 1.0f / (s * temperature), scale_t = 1.0f / (t * temperature);
        const bool alike = s < 2 * t && t < 2 * s && std_s + std_t > 0;
        if (!alike) return {scale_s, scale_t, 0, scale_s, -scale_t, mean_s, chain};
        const float skew = -variance_difference / ((std_s + std_t) * s * t * temperature);  // (1/s - 1/t) / T
        return {scale_s, scale_t, scale_s, 0, skew, mean_s, chain};
    }

    // d(standardised z)/dz, transposed: u -> (u - mean u - (u · c) c / ((n - 1) std s)) / s. The mean of u is 0.
    template <class Team>
    MLKD_HD void through_standardization(const Team& team, float* u, const float* zs, float zs_j, const RowScaling& scaling,
                                         float temperature) const {
        const float along =
            row_sum<float>(team, classes, [&](std::int64_t k) { return u[k] * (zs[k] - zs_j - scaling.mean); }) * scaling.chain;
        const float per_deviation = scaling.student * temperature;
#pragma omp simd
        for (std::int64_t k = team.rank(); k < classes; k += team.size())
            u[k] = per_deviation * (u[k] - along * (zs[k] - zs_j - scaling.mean));
    }
};

struct SoftmaxOutputs {
    Tensor student_softmax;  // (terms, B, C)
    Tensor difference;       // (terms, B, C)
    Tensor teacher_softmax;  // (terms, B, C), or empty
    Tensor row_kl;           // (terms, B)
    Tensor scales;           // (terms, B, 4), or empty
};

// For `terms`, an array on the device with as many entries as the outputs have.
void softmax_difference(const Stream& stream, const SoftmaxOutputs& outputs, const Tensor& student, const Tensor& teacher,
                        const Term* terms);

}  // namespace mlkd
