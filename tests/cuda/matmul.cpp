#include "engine/cuda/matmul.h"

#include <doctest/doctest.h>

#include <vector>

using namespace mlkd;

namespace {

struct Matrix {
    std::vector<double> values;
    double operator()(std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
};

Matrix numbers(std::int64_t count, double start) {
    Matrix matrix;
    for (std::int64_t i = 0; i < count; ++i) matrix.values.push_back(start + static_cast<double>(i * i % 17));
    return matrix;
}

// The definition of a product of matrices that are stored by columns.
double column_major_entry(const cuda::ColumnMajorProduct& p, const Matrix& first, const Matrix& second, std::int64_t batch,
                          std::int64_t row, std::int64_t column) {
    double sum = 0;
    for (std::int64_t i = 0; i < p.k; ++i) {
        const std::int64_t in_first = p.transpose_first ? i + row * p.first_ld : row + i * p.first_ld;
        const std::int64_t in_second = p.transpose_second ? column + i * p.second_ld : i + column * p.second_ld;
        sum += first(batch * p.first_stride + in_first) * second(batch * p.second_stride + in_second);
    }
    return sum;
}

}  // namespace

TEST_CASE("a row-major product is the column-major one of its exchanged operands") {
    constexpr std::int64_t batch = 2, m = 3, n = 5, k = 7;
    const Matrix a = numbers(batch * m * k, 1), b = numbers(batch * k * n, -4);
    for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
            const auto p = cuda::column_major(
                {.batch = batch, .m = m, .n = n, .k = k, .transpose_a = ta, .transpose_b = tb, .alpha = 1, .beta = 0});
            for (std::int64_t z = 0; z < batch; ++z)
                for (std::int64_t i = 0; i < m; ++i)
                    for (std::int64_t j = 0; j < n; ++j) {
                        double expected = 0;
                        for (std::int64_t l = 0; l < k; ++l)
                            expected += a(z * m * k + (ta ? l * m + i : i * k + l)) * b(z * k * n + (tb ? j * k + l : l * n + j));
                        // Entry (i, j) of c, row-major, is entry (j, i) of the column-major result.
                        CHECK(z * p.result_stride + j + i * p.result_ld == z * m * n + i * n + j);
                        CHECK(column_major_entry(p, b, a, z, j, i) == expected);
                    }
        }
}
