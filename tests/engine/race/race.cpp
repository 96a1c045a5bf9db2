// A kernel with a mistake that one thread a row would never show: it lacks the sync() between writing and reading the
// scratch memory. ThreadSanitizer must report it (CTest expects this program to fail); else it would miss such a mistake
// in any kernel.
#include <cstddef>
#include <vector>

#include "engine/kernels/device_code.h"
#include "tests/support/thread_team.h"

namespace {

struct MissingSync {
    float* y;  // (rows, n)
    std::int64_t n;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        float* copy = team.template scratch<float>();
        for (std::int64_t i = team.rank(); i < n; i += team.size()) copy[i] = y[row * n + i];
        for (std::int64_t i = team.rank(); i < n; i += team.size()) y[row * n + i] = copy[n - 1 - i];
    }
};

}  // namespace

int main() {
    constexpr std::int64_t rows = 9, n = 101;
    std::vector<float> y(rows * n, 1.0f);
    mlkd::for_each_row_with_threads(2, 3, rows, MissingSync{y.data(), n}, n * sizeof(float));
}
