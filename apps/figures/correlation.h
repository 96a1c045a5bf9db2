#pragma once
// Correlation matrices of predictions (Jin, Wang, Lin, CVPR 2023, supplement), in double precision on the host.
// With P the (B, C) matrix of the rows softmax(logits / T): input correlation P·Pᵀ (B, B), category correlation Pᵀ·P (C, C).
#include <cstdint>
#include <span>
#include <vector>

namespace mlkd {

struct Matrix {
    std::int64_t rows = 0, columns = 0;
    std::vector<double> values;  // (rows, columns)

    double& at(std::int64_t row, std::int64_t column) { return values[static_cast<std::size_t>(row * columns + column)]; }
    const double& at(std::int64_t row, std::int64_t column) const { return values[static_cast<std::size_t>(row * columns + column)]; }
};

enum class Correlation { input, category };

// logits (B, C); the rows of the result sum to 1.
Matrix softmax_rows(std::span<const float> logits, std::int64_t classes, double temperature);
// Of P (B, C).
Matrix correlation(Correlation kind, const Matrix& p);
Matrix absolute_difference(const Matrix& a, const Matrix& b);
double mean(const Matrix& matrix);
double maximum(const Matrix& matrix);

// For each batch the mean over the entries of |student's − teacher's| correlation matrix; of these the mean over the
// batches, the last smaller one too. student, teacher (N, C), in the order of the images.
double mean_distance(Correlation kind, std::span<const float> student, std::span<const float> teacher, std::int64_t classes,
                     std::int64_t batch, double temperature);

}  // namespace mlkd
