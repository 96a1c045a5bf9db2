#pragma once
// Batch and class level with the squared Frobenius distance, both from the same three Gram matrices of size min(B, C).
//
// With A, B the softmaxes of student and teacher (B, C) and U = A - B, the differences of the correlation matrices are
//     AAᵀ - BBᵀ = AUᵀ + UAᵀ - UUᵀ   (B × B)       AᵀA - BᵀB = AᵀU + UᵀA - UᵀU   (C × C),
// which lose no digits when U is small. Let X be the one of size n = min(B, C), formed from P, Q, R:
//     P = AUᵀ, Q = UUᵀ, R = AAᵀ where B <= C,    P = UᵀA, Q = UᵀU, R = AᵀA where C < B.    X = P + Pᵀ - Q.
// The other one, Y, is never formed. Its norm is ‖Y‖² = (Σ Q·W + Σ Z·Zᵀ) / 2 (element by element) with
// W = 4R - 2P - 2Pᵀ + Q and Z = 2Pᵀ - Q, the Gram matrices of A + B and of U with A + B. The gradient of
// x ‖X‖² + y ‖Y‖² in A is K_A A + K_U U (with the factors exchanged where C < B), where
//     K_A = 4y P + 4x X,     K_U = 4y (R - P).
#include "engine/arena.h"
#include "engine/backend.h"
#include "losses/mlkd/terms.h"

namespace mlkd {

// What one entry of the three matrices and its mirror image come to.
struct GramEntry {
    float same_side, other_side;  // its share of ‖X‖² and ‖Y‖²
    float k_a, k_u;
};

// x4 = 4x, y4 = 4y.
MLKD_HD inline GramEntry gram_entry(float p_ij, float p_ji, float q, float r, float x4, float y4) {
    const float x = p_ij + p_ji - q;
    const float w = 4 * r - 2 * (p_ij + p_ji) + q;
    return {x * x, 0.5f * (q * w + (2 * p_ji - q) * (2 * p_ij - q)), y4 * p_ij + x4 * x, y4 * (r - p_ij)};
}

// A row is a block of rows of one term's n × n matrices. Q becomes K_A, R becomes K_U.
struct GramCoefficients {
    static constexpr std::int64_t rows = 32, columns = 128, pitch = columns + 1;
    static constexpr std::size_t scratch_bytes = rows * pitch * sizeof(float);

    float* q;           // (terms, n, n)
    float* r;           // (terms, n, n)
    float* same_side;   // (terms, blocks): ‖X‖², summed over the block
    float* other_side;  // (terms, blocks): ‖Y‖²
    const float* p;     // (terms, n, n)
    const Term* terms;
    const float* masks;  // (2) m_b, m_c, or nullptr for 1
    std::int64_t samples;
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const bool by_samples = samples <= classes;  // X is the batch level's, Y the class level's
        const std::int64_t n = by_samples ? samples : classes;
        const std::int64_t blocks = (n + rows - 1) / rows;
        const Term term = terms[row / blocks];
        const float batch = term.batch * (masks == nullptr ? 1.0f : masks[0]) / static_cast<float>(samples);
        const float class_ = term.class_ * (masks == nullptr ? 1.0f : masks[1]) / static_cast<float>(classes);
        const float x4 = 4 * (by_samples ? batch : class_), y4 = 4 * (by_samples ? class_ : batch);

        const std::int64_t matrix = row / blocks * n * n;
        const std::int64_t i0 = row % blocks * rows, i1 = i0 + rows < n ? i0 + rows : n;
        float* transposed = team.template scratch<float>();  // [i][j] = P[j][i]
        float norm_x = 0, norm_y = 0;
        for (std::int64_t j0 = 0; j0 < n; j0 += columns) {
            const std::int64_t width = j0 + columns < n ? columns : n - j0;
            for (std::int64_t e = team.rank(); e < width * rows; e += team.size()) {
                const std::int64_t j = e / rows, i = e % rows;
                if (i0 + i < i1) transposed[i * pitch + j] = p[matrix + (j0 + j) * n + i0 + i];
            }
            team.sync();
            const Strip strip{matrix + j0, n, width, x4, y4};
            std::int64_t i = i0;
            for (; i + tile <= i1; i += tile) add_rows<tile>(team, strip, i, transposed + (i - i0) * pitch, norm_x, norm_y);
            for (; i < i1; ++i) add_rows<1>(team, strip, i, transposed + (i - i0) * pitch, norm_x, norm_y);
            team.sync();
        }
        norm_x = team.sum(norm_x);
        norm_y = team.sum(norm_y);
        if (team.rank() == 0) {
            same_side[row] = norm_x;
            other_side[row] = norm_y;
        }
    }

private:
    static constexpr int tile = 4;  // rows whose entries are read before the first is written
    struct Strip {
        std::int64_t at, n, width;  // where column 0 of row 0 lies
        float x4, y4;
    };

    // `count` rows from i on; transposed: row i of Pᵀ.
    template <int count, class Team>
    MLKD_HD void add_rows(const Team& team, const Strip& strip, std::int64_t i, const float* transposed, float& same, float& other) const {
        const std::int64_t at = strip.at + i * strip.n, n = strip.n, width = strip.width;
        const float x4 = strip.x4, y4 = strip.y4;
        float norm_x = 0, norm_y = 0;
#pragma omp simd reduction(+ : norm_x, norm_y)
        for (std::int64_t j = team.rank(); j < width; j += team.size()) {
            GramEntry entry[count];
            for (int e = 0; e < count; ++e)
                entry[e] = gram_entry(p[at + e * n + j], transposed[e * pitch + j], q[at + e * n + j], r[at + e * n + j], x4, y4);
            for (int e = 0; e < count; ++e) {
                norm_x += entry[e].same_side;
                norm_y += entry[e].other_side;
                q[at + e * n + j] = entry[e].k_a;
                r[at + e * n + j] = entry[e].k_u;
            }
        }
        same += norm_x;
        other += norm_y;
    }
};

// How many partial sums a term's distance comes in.
std::int64_t gram_blocks(std::int64_t samples, std::int64_t classes);

// student_softmax, difference (terms, B, C). Writes dL_dsoftmax (terms, B, C), weights inside, and the partial sums of
// the distances batch_sums and class_sums (terms, gram_blocks), without weights.
void gram_correlation(Backend& backend, StepArena& arena, const Tensor& dL_dsoftmax, const Tensor& batch_sums, const Tensor& class_sums,
                      const Tensor& student_softmax, const Tensor& difference, const Term* terms, const float* masks);

}  // namespace mlkd
