// Why the correlation levels are formed from U = A - B, and in which precision its products may be taken: the direct form
// and ours, both by plain loops, with operands of the products rounded as tensor cores round them.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "tests/losses/problem.h"

using namespace mlkd;

namespace {

constexpr std::size_t B = 64, C = 100;
constexpr double temperature = 4;

template <class T> struct Matrix {
    Matrix(std::size_t r, std::size_t c) : rows(r), columns(c), values(r * c) {}
    T& operator()(std::size_t i, std::size_t j) { return values[i * columns + j]; }
    const T& operator()(std::size_t i, std::size_t j) const { return values[i * columns + j]; }
    std::size_t rows, columns;
    std::vector<T> values;
};

// Rounds to so many bits of mantissa behind the leading one, to nearest, ties to even: 23 float32, 10 TF32, 7 bf16.
float rounded(float value, unsigned bits) {
    if (bits == 23) return value;
    const std::uint32_t word = std::bit_cast<std::uint32_t>(value), unit = 1u << (23 - bits);
    return std::bit_cast<float>((word + unit / 2 - 1 + (word / unit & 1)) & ~(unit - 1));
}
double rounded(double value, unsigned) { return value; }

template <class T> Matrix<T> transposed(const Matrix<T>& a) {
    Matrix<T> t(a.columns, a.rows);
    for (std::size_t i = 0; i < a.rows; ++i)
        for (std::size_t j = 0; j < a.columns; ++j) t(j, i) = a(i, j);
    return t;
}

template <class T> Matrix<T> product(const Matrix<T>& a, const Matrix<T>& b, unsigned bits) {
    Matrix<T> c(a.rows, b.columns);
    for (std::size_t i = 0; i < a.rows; ++i)
        for (std::size_t k = 0; k < a.columns; ++k)
            for (std::size_t j = 0; j < b.columns; ++j) c(i, j) += rounded(a(i, k), bits) * rounded(b(k, j), bits);
    return c;
}

template <class T, class F> Matrix<T> each(const Matrix<T>& a, const Matrix<T>& b, F f) {
    Matrix<T> c(a.rows, a.columns);
    for (std::size_t i = 0; i < c.values.size(); ++i) c.values[i] = f(a.values[i], b.values[i]);
    return c;
}

// dL/dA of ‖AAᵀ - BBᵀ‖² / B + ‖AᵀA - BᵀB‖² / C: 4/B (AAᵀ - BBᵀ) A + 4/C A (AᵀA - BᵀB).
template <class T> Matrix<T> direct_form(const Matrix<T>& a, const Matrix<T>& b, unsigned bits) {
    const auto minus = [](T x, T y) { return x - y; };
    const Matrix<T> by_samples = each(product(a, transposed(a), bits), product(b, transposed(b), bits), minus);
    const Matrix<T> by_classes = each(product(transposed(a), a, bits), product(transposed(b), b, bits), minus);
    return each(product(by_samples, a, bits), product(a, by_classes, bits), [](T x, T y) { return 4 * x / T{B} + 4 * y / T{C}; });
}

// The same as losses/mlkd/gram_correlation.h has it.
template <class T> Matrix<T> difference_form(const Matrix<T>& a, const Matrix<T>& u, unsigned bits) {
    const Matrix<T> p = product(a, transposed(u), bits), q = product(u, transposed(u), bits), r = product(a, transposed(a), bits);
    Matrix<T> x = each(each(p, transposed(p), [](T s, T t) { return s + t; }), q, [](T s, T t) { return s - t; });
    const Matrix<T> k_a = each(p, x, [](T s, T t) { return 4 * s / T{C} + 4 * t / T{B}; });
    const Matrix<T> k_u = each(r, p, [](T s, T t) { return 4 * (s - t) / T{C}; });
    return each(product(k_a, a, bits), product(k_u, u, bits), [](T s, T t) { return s + t; });
}

// Through the softmax, in double, so that only the products' precision shows.
template <class T> std::vector<double> logit_gradient(const Matrix<double>& a, const Matrix<T>& dL_da) {
    std::vector<double> gradient(B * C);
    for (std::size_t i = 0; i < B; ++i) {
        double along = 0;
        for (std::size_t j = 0; j < C; ++j) along += a(i, j) * static_cast<double>(dL_da(i, j));
        for (std::size_t j = 0; j < C; ++j) gradient[i * C + j] = a(i, j) * (static_cast<double>(dL_da(i, j)) - along) / temperature;
    }
    return gradient;
}

Matrix<double> softmax(const Matrix<double>& logits) {
    Matrix<double> p(B, C);
    for (std::size_t i = 0; i < B; ++i) {
        double sum = 0;
        for (std::size_t j = 0; j < C; ++j) sum += p(i, j) = std::exp(logits(i, j) / temperature);
        for (std::size_t j = 0; j < C; ++j) p(i, j) /= sum;
    }
    return p;
}

Matrix<float> narrowed(const Matrix<double>& a) {
    Matrix<float> out(a.rows, a.columns);
    for (std::size_t i = 0; i < a.values.size(); ++i) out.values[i] = static_cast<float>(a.values[i]);
    return out;
}

}  // namespace

// With MLKD_LOSS_TABLE set, prints the table of docs/losses.md.
TEST_CASE("losses: digits of the direct form and of the difference, by precision of the products") {
    const bool print = std::getenv("MLKD_LOSS_TABLE") != nullptr;
    if (print) std::printf("| distance | direct float32 | direct TF32 | direct bf16 | ours float32 | ours TF32 | ours bf16 |\n|---|---|---|---|---|---|---|\n");
    std::mt19937 random(11);
    std::normal_distribution<double> normal;
    Matrix<double> teacher(B, C), direction(B, C), student(B, C);
    for (double& z : teacher.values) z = 3 * normal(random);
    for (double& z : direction.values) z = normal(random);
    const Matrix<double> b = softmax(teacher);
    for (const double distance : {3.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5}) {
        CAPTURE(distance);
        student = each(teacher, direction, [&](double t, double d) { return t + distance * d; });
        const Matrix<double> a = softmax(student), u = each(a, b, [](double s, double t) { return s - t; });
        const std::vector<double> exact = logit_gradient(a, difference_form(a, u, 52));
        CHECK(test::relative_error(logit_gradient(a, direct_form(a, b, 52)), exact) < 1e-15 * 100 / distance);

        const Matrix<float> a32 = narrowed(a), b32 = narrowed(b), u32 = narrowed(u);
        double direct[3], ours[3];
        const unsigned bits[] = {23, 10, 7};
        for (int i = 0; i < 3; ++i) {
            direct[i] = test::relative_error(logit_gradient(a, direct_form(a32, b32, bits[i])), exact);
            ours[i] = test::relative_error(logit_gradient(a, difference_form(a32, u32, bits[i])), exact);
        }
        if (print)
            std::printf("| %.0e | %.1e | %.1e | %.1e | %.1e | %.1e | %.1e |\n", distance, direct[0], direct[1], direct[2], ours[0], ours[1],
                        ours[2]);
        CHECK(ours[0] < 2e-6);
        CHECK(ours[1] < 1e-3);         // TF32 may be used
        CHECK(ours[2] > 1e-3);         // bf16 may not
        if (distance < 2e-4) CHECK(direct[0] > 1e-3);
        if (distance < 2e-2) CHECK(direct[1] > 1e-2);
    }
}
