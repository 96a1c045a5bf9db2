#pragma once
// Batch and class level of a few samples of one term, with everything that follows from them: a slab of rows of the B × B
// matrices of gram_correlation.h, where the formulas are, and of the gradient.
//
// Row i of the gradient, Σ_j (K_A)_ij A_j + (K_U)_ij U_j, needs row i of the Gram matrices and all rows of A and U. So slabs
// do not depend on each other, if the matrices over samples are taken also where the ones over classes would be smaller;
// and the rows j can pass by in chunks, whose Gram entries are used and forgotten. The members of a team hold tiles of
// 4 (i) × 1 (j) entries of the four products in registers, and of 4 (i) × 1 (class) of the gradient.
#include <cstddef>
#include <cstdint>

#include "engine/kernels/device_code.h"
#include "losses/mlkd/gram_correlation.h"
#include "losses/mlkd/logit_gradient.h"
#include "losses/mlkd/terms.h"
#include "losses/row_math.h"

namespace mlkd {

// How a slab lies in scratch memory. All extents are multiples of 4.
struct GramSlabLayout {
    int rows;   // i: samples of a slab
    int chunk;  // j: samples at once
    int pitch;  // floats from row to row, an odd multiple of 4: 8 rows then lie in different banks of shared memory

    MLKD_HD std::int64_t slabs(std::int64_t samples) const { return (samples + rows - 1) / rows; }
    std::size_t scratch_bytes() const {
        return sizeof(float) * static_cast<std::size_t>(pitch * (3 * rows + 2 * chunk) + 2 * chunk * rows);
    }
};

// Four floats that are read at once.
struct alignas(16) Quad {
    float x[4];
};

struct GramSlab {
    static constexpr int tile = 4;

    float* dL_dlogits;        // (terms, B, C): the term's share, instance level included; written
    float* batch_sums;        // (correlating terms, slabs); written
    float* class_sums;        // (correlating terms, slabs); written
    const float* softmax;     // (terms, B, C): A
    const float* difference;  // (terms, B, C): U
    const float* student;     // (V·B, C)
    const Term* terms;
    const float* masks;  // (2) or nullptr
    GramSlabLayout layout;
    int samples;
    int classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int slabs = static_cast<int>(layout.slabs(samples));
        const int t = static_cast<int>(row) / slabs, first = static_cast<int>(row) % slabs * layout.rows;
        const int count = first + layout.rows < samples ? layout.rows : samples - first;
        const Term term = terms[t];
        const float* a = softmax + static_cast<std::int64_t>(t) * samples * classes;
        const float* u = difference + static_cast<std::int64_t>(t) * samples * classes;
        const Parts at = parts(team.template scratch<float>());

        load(team, at.a_i, at.u_i, a + first * classes, u + first * classes, layout.rows, count);
        Norms norms{0, 0};
        for (int j0 = 0; j0 < samples; j0 += layout.chunk) {
            const int width = j0 + layout.chunk < samples ? layout.chunk : samples - j0;
            load(team, at.a_j, at.u_j, a + j0 * classes, u + j0 * classes, width, width);
            team.sync();
            coefficients(team, at, norms, term, width);
            team.sync();
            add_gradient(team, at, width, j0 == 0);
            team.sync();
        }
        const float batch = team.sum(norms.batch), class_ = team.sum(norms.class_);
        if (team.rank() == 0) {
            batch_sums[row] = batch;
            class_sums[row] = class_;
        }
        const auto part = team.part();
        const float slope = instance_slope(term, masks == nullptr ? 1.0f : masks[0], samples);
        for (int i = team.part_index(); i < count; i += team.part_count()) {
            const float *a_i = at.a_i + i * layout.pitch, *u_i = at.u_i + i * layout.pitch, *g = at.g + i * layout.pitch;
            const std::int64_t sample = first + i;
            const std::int64_t j = row_maximum(part, student + (term.view * samples + sample) * classes, classes).place;
            const SoftmaxChain chain(part, a_i, g, classes, j, term.temperature);
            float* gradient = dL_dlogits + (static_cast<std::int64_t>(t) * samples + sample) * classes;
#pragma omp simd
            for (int k = part.rank(); k < classes; k += part.size()) gradient[k] = chain(a_i[k], g[k]) + slope * u_i[k];
        }
    }

private:
    struct Parts {
        float *a_i, *u_i, *g;  // (rows, pitch): the slab's samples and dL/dA
        float *a_j, *u_j;      // (chunk, pitch)
        float *k_a, *k_u;      // (chunk, rows)
    };
    struct Norms {
        float batch, class_;
    };

    MLKD_HD Parts parts(float* scratch) const {
        const int slab = layout.rows * layout.pitch, chunk = layout.chunk * layout.pitch;
        float* j = scratch + 3 * slab;
        float* k = j + 2 * chunk;
        return {scratch, scratch + slab, scratch + 2 * slab, j, j + chunk, k, k + layout.chunk * layout.rows};
    }
    MLKD_HD static Quad quad(const float* x) { return *reinterpret_cast<const Quad*>(x); }

    // Rows of A and U, with zeros behind the classes and behind the `valid` rows: they add nothing to any sum.
    template <class Team>
    MLKD_HD void load(const Team& team, float* to_a, float* to_u, const float* a, const float* u, int rows, int valid) const {
        const auto part = team.part();
        for (int r = tile * team.part_index(); r < rows; r += tile * team.part_count())
            for (int k = part.rank(); k < layout.pitch; k += part.size()) {
                Quad from_a, from_u;  // many loads under way at once
                for (int q = 0; q < tile; ++q) {
                    const bool inside = k < classes && r + q < valid;
                    from_a.x[q] = inside ? a[(r + q) * classes + k] : 0.0f;
                    from_u.x[q] = inside ? u[(r + q) * classes + k] : 0.0f;
                }
                for (int q = 0; q < tile; ++q) {
                    to_a[(r + q) * layout.pitch + k] = from_a.x[q];
                    to_u[(r + q) * layout.pitch + k] = from_u.x[q];
                }
            }
    }

    // K_A and K_U of the slab's rows and the chunk's columns, and their share of the norms.
    template <class Team>
    MLKD_HD void coefficients(const Team& team, const Parts& at, Norms& norms, const Term& term, int width) const {
        const float x4 = 4 * term.batch * (masks == nullptr ? 1.0f : masks[0]) / static_cast<float>(samples);
        const float y4 = 4 * term.class_ * (masks == nullptr ? 1.0f : masks[1]) / static_cast<float>(classes);
        const int tiles = layout.rows / tile * width;
        for (int e = team.rank(); e < tiles; e += team.size()) {
            const int i0 = e / width * tile, j = e % width;
            const float *a_j = at.a_j + j * layout.pitch, *u_j = at.u_j + j * layout.pitch;
            const float *a_i = at.a_i + i0 * layout.pitch, *u_i = at.u_i + i0 * layout.pitch;
            Quad p_ij{}, p_ji{}, q_ij{}, r_ij{};
            for (int k = 0; k < classes; k += 4) {
                const Quad aj = quad(a_j + k), uj = quad(u_j + k);
                for (int i = 0; i < tile; ++i) {
                    const Quad ai = quad(a_i + i * layout.pitch + k), ui = quad(u_i + i * layout.pitch + k);
                    for (int l = 0; l < 4; ++l) {
                        p_ij.x[i] += ai.x[l] * uj.x[l];
                        p_ji.x[i] += ui.x[l] * aj.x[l];
                        q_ij.x[i] += ui.x[l] * uj.x[l];
                        r_ij.x[i] += ai.x[l] * aj.x[l];
                    }
                }
            }
            Quad k_a, k_u;
            for (int i = 0; i < tile; ++i) {
                const GramEntry entry = gram_entry(p_ij.x[i], p_ji.x[i], q_ij.x[i], r_ij.x[i], x4, y4);
                norms.batch += entry.same_side;
                norms.class_ += entry.other_side;
                k_a.x[i] = entry.k_a;
                k_u.x[i] = entry.k_u;
            }
            *reinterpret_cast<Quad*>(at.k_a + j * layout.rows + i0) = k_a;
            *reinterpret_cast<Quad*>(at.k_u + j * layout.rows + i0) = k_u;
        }
    }

    // dL/dA of the slab's rows: what the chunk's rows give them.
    template <class Team>
    MLKD_HD void add_gradient(const Team& team, const Parts& at, int width, bool first_chunk) const {
        const int tiles = layout.rows / tile * classes;
        for (int e = team.rank(); e < tiles; e += team.size()) {
            const int i0 = e / classes * tile, c = e % classes;
            float* g = at.g + i0 * layout.pitch + c;
            Quad sum{};
            if (!first_chunk)
                for (int i = 0; i < tile; ++i) sum.x[i] = g[i * layout.pitch];
            for (int j = 0; j < width; ++j) {
                const Quad k_a = quad(at.k_a + j * layout.rows + i0), k_u = quad(at.k_u + j * layout.rows + i0);
                const float a = at.a_j[j * layout.pitch + c], u = at.u_j[j * layout.pitch + c];
                for (int i = 0; i < tile; ++i) sum.x[i] += k_a.x[i] * a + k_u.x[i] * u;
            }
            for (int i = 0; i < tile; ++i) g[i * layout.pitch] = sum.x[i];
        }
    }
};

}  // namespace mlkd
