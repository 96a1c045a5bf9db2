#pragma once
// What several loss kernels do with a row of logits.
#include <cmath>
#include <cstdint>

#include "engine/kernels/device_code.h"
#include "losses/numeric.h"

namespace mlkd {

// The places 0 ≤ k < n of a row in runs, run(first, end), of which a member of the team takes at most 256: float32 sums of thousands,
// added one by one, lose a digit. run sums into numbers of its own and adds these to the row's.
template <class Team, class Run>
MLKD_HD void in_runs(const Team& team, std::int64_t n, const Run& run) {
    const std::int64_t length = 256 * team.size();
    MLKD_ROLLED
    for (std::int64_t first = 0; first < n; first += length) run(first, first + length < n ? first + length : n);
}

// Σ_k addend(k) over a row of n places; every member gets it.
template <class T, class Team, class Addend>
MLKD_HD T row_sum(const Team& team, std::int64_t n, const Addend& addend) {
    T sum = 0;
    in_runs(team, n, [&](std::int64_t first, std::int64_t end) {
        T part = 0;
#pragma omp simd reduction(+ : part)
        for (std::int64_t k = first + team.rank(); k < end; k += team.size()) part += addend(k);
        sum += part;
    });
    return team.sum(sum);
}

// The largest value of a row and where it is last; NaNs are passed over (place 0 where nothing else is there).
template <class T> struct RowMaximum {
    T value;
    std::int64_t place;
};

template <class T, class Team>
MLKD_HD RowMaximum<T> row_maximum(const Team& team, const T* x, std::int64_t n) {
    T value = static_cast<T>(-INFINITY);
#pragma omp simd reduction(max : value)
    for (std::int64_t i = team.rank(); i < n; i += team.size()) value = x[i] > value ? x[i] : value;
    value = team.max(value);
    int place = 0;
#pragma omp simd reduction(max : place)
    for (std::int64_t i = team.rank(); i < n; i += team.size()) {
        const int here = x[i] == value ? static_cast<int>(i) : 0;
        place = here > place ? here : place;
    }
    return {value, team.max(place)};
}

// Σ e^(x - maximum) over all places but the maximum's: so softmax and log-softmax keep their digits near 1 and 0.
template <class T, class Team>
MLKD_HD T softmax_tail(const Team& team, const T* x, std::int64_t n, const RowMaximum<T>& maximum) {
    return row_sum<T>(team, n, [&](std::int64_t k) { return k == maximum.place ? T{0} : fast_exp(x[k] - maximum.value); });
}

// -log softmax(x)[target], given the tail.
template <class T>
MLKD_HD T cross_entropy_of(const T* x, std::int64_t target, const RowMaximum<T>& maximum, T tail) {
    return std::log1p(tail) - (x[target] - maximum.value);
}

}  // namespace mlkd
