#include "apps/figures/correlation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/error.h"

namespace mlkd {

Matrix softmax_rows(std::span<const float> logits, std::int64_t classes, double temperature) {
    MLKD_CHECK(classes > 0 && static_cast<std::int64_t>(logits.size()) % classes == 0, "correlation: whole rows of logits");
    Matrix p{static_cast<std::int64_t>(logits.size()) / classes, classes, {logits.begin(), logits.end()}};
    for (std::int64_t b = 0; b < p.rows; ++b) {
        const std::span<double> row(&p.at(b, 0), static_cast<std::size_t>(classes));
        const double largest = *std::max_element(row.begin(), row.end());
        for (double& x : row) x = std::exp((x - largest) / temperature);
        const double sum = std::accumulate(row.begin(), row.end(), 0.0);
        for (double& x : row) x /= sum;
    }
    return p;
}

Matrix correlation(Correlation kind, const Matrix& p) {
    const std::int64_t size = kind == Correlation::input ? p.rows : p.columns;
    Matrix out{size, size, std::vector<double>(static_cast<std::size_t>(size * size))};
    if (kind == Correlation::input) {
        for (std::int64_t i = 0; i < size; ++i)
            for (std::int64_t j = 0; j <= i; ++j)
                out.at(i, j) = out.at(j, i) = std::inner_product(&p.at(i, 0), &p.at(i, 0) + p.columns, &p.at(j, 0), 0.0);
        return out;
    }
    // A sum of outer products: memory is walked row by row.
    for (std::int64_t b = 0; b < p.rows; ++b)
        for (std::int64_t i = 0; i < size; ++i)
            for (std::int64_t j = 0; j < size; ++j) out.at(i, j) += p.at(b, i) * p.at(b, j);
    return out;
}

Matrix absolute_difference(const Matrix& a, const Matrix& b) {
    MLKD_CHECK(a.rows == b.rows && a.columns == b.columns, "correlation: matrices of one shape");
    Matrix out = a;
    for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] = std::abs(a.values[i] - b.values[i]);
    return out;
}

double mean(const Matrix& matrix) {
    return std::accumulate(matrix.values.begin(), matrix.values.end(), 0.0) / static_cast<double>(matrix.values.size());
}

double maximum(const Matrix& matrix) { return *std::max_element(matrix.values.begin(), matrix.values.end()); }

double mean_distance(Correlation kind, std::span<const float> student, std::span<const float> teacher, std::int64_t classes,
                     std::int64_t batch, double temperature) {
    MLKD_CHECK(student.size() == teacher.size() && !student.empty() && batch > 0, "correlation: as many logits of student and teacher");
    const auto stride = static_cast<std::size_t>(batch * classes);
    double sum = 0;
    std::int64_t batches = 0;
    for (std::size_t first = 0; first < student.size(); first += stride, ++batches) {
        const std::size_t count = std::min(stride, student.size() - first);
        sum += mean(absolute_difference(correlation(kind, softmax_rows(student.subspan(first, count), classes, temperature)),
                                        correlation(kind, softmax_rows(teacher.subspan(first, count), classes, temperature))));
    }
    return sum / static_cast<double>(batches);
}

}  // namespace mlkd
