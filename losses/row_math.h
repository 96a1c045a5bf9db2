#pragma once
// What several loss kernels do with a row of logits.
#include <cmath>
#include <cstdint>

#include "engine/kernels/device_code.h"
#include "losses/numeric.h"

namespace mlkd {

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
    T tail = 0;
#pragma omp simd reduction(+ : tail)
    for (std::int64_t i = team.rank(); i < n; i += team.size()) tail += i == maximum.place ? T{0} : fast_exp(x[i] - maximum.value);
    return team.sum(tail);
}

// -log softmax(x)[target], given the tail.
template <class T>
MLKD_HD T cross_entropy_of(const T* x, std::int64_t target, const RowMaximum<T>& maximum, T tail) {
    return std::log1p(tail) - (x[target] - maximum.value);
}

}  // namespace mlkd
