#include "engine/cpu/reference_gemm.h"

#include <algorithm>

namespace mlkd::cpu::reference {
namespace {

void multiply_panels(double (&tile)[tile_rows][tile_columns], const double* a, const double* b, std::int64_t depth) {
    double sum[tile_rows][tile_columns] = {};
    for (std::int64_t t = 0; t < depth; ++t, a += tile_rows, b += tile_columns)
#pragma GCC unroll 4
        for (int i = 0; i < tile_rows; ++i)
#pragma GCC unroll 8
            for (int j = 0; j < tile_columns; ++j) sum[i][j] += a[i] * b[j];
    std::copy_n(&sum[0][0], tile_rows * tile_columns, &tile[0][0]);
}

}  // namespace

void add_product(double* c, std::int64_t stride, const Rows& a, const Columns& b) {
    for (std::int64_t column = 0; column < b.across(); column += tile_columns)
        for (std::int64_t row = 0; row < a.across(); row += tile_rows) {
            double tile[tile_rows][tile_columns];
            multiply_panels(tile, a.panel(row), b.panel(column), a.depth());
            const std::int64_t rows = std::min<std::int64_t>(tile_rows, a.across() - row);
            const std::int64_t columns = std::min<std::int64_t>(tile_columns, b.across() - column);
            for (std::int64_t i = 0; i < rows; ++i)
                for (std::int64_t j = 0; j < columns; ++j) c[(row + i) * stride + column + j] += tile[i][j];
        }
}

void matmul(double* c, const double* a, const double* b, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
            bool transpose_a, bool transpose_b, double alpha, double beta) {
    constexpr std::int64_t block = 16;  // rows of a task
    const std::int64_t blocks = (m + block - 1) / block;
    for (std::int64_t matrix = 0; matrix < batch; ++matrix, a += m * k, b += k * n, c += m * n) {
        Columns columns;
        columns.reshape(n, k);
        columns.fill(0, k, transpose_b ? Strided{b, k, 1} : Strided{b, 1, n});
#pragma omp parallel for schedule(static)
        for (std::int64_t task = 0; task < blocks; ++task) {
            const std::int64_t first = task * block, count = std::min(block, m - first);
            Rows rows;
            rows.reshape(count, k);
            rows.fill(0, k, transpose_a ? Strided{a + first, 1, m} : Strided{a + first * k, k, 1});
            std::vector<double> product(static_cast<std::size_t>(count * n), 0.0);
            add_product(product.data(), n, rows, columns);
            for (std::int64_t i = 0; i < count * n; ++i) {
                double& out = c[first * n + i];
                const double scaled = alpha * product[static_cast<std::size_t>(i)];
                out = beta == 0.0 ? scaled : scaled + beta * out;
            }
        }
    }
}

}  // namespace mlkd::cpu::reference
