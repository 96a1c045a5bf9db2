#pragma once
// The vendor operations as parameter structs: what distinguishes two plans, made from tensors that were checked against
// each other. Both backends cache by them and name them in messages and plan files.
#include <compare>
#include <cstdint>
#include <string>

#include "engine/backend.h"

namespace mlkd {

enum class Direction { forward, backward_data, backward_filter };

// x (N, H, W, C), w (K, R, S, C), y (N, P, Q, K).
struct ConvolutionCall {
    Direction direction;
    std::int64_t n, h, w, c;
    std::int64_t k, r, s;
    int stride, padding;
    bool bias = false, residual = false, relu = false;
    DType dtype = DType::f32;  // of every tensor
    bool accumulate = false;   // backward_data: adds to the result

    auto operator<=>(const ConvolutionCall&) const = default;
    std::int64_t p() const { return (h + 2 * padding - r) / stride + 1; }
    std::int64_t q() const { return (w + 2 * padding - s) / stride + 1; }
    std::string text() const;  // "forward x(64, 32, 32, 3) w(32, 3, 3, 3) stride 1 padding 1 bias relu bf16"; f32 goes unsaid
};

// Addresses of the tensors of a call; in a backward pass x, w, y stand for their gradients where those are meant.
struct ConvolutionOperands {
    void* x = nullptr;
    void* w = nullptr;
    void* y = nullptr;
    void* bias = nullptr;
    void* residual = nullptr;
};

// Throw Error when the tensors do not fit together, are of several types, or hold nothing. In a backward pass the tensors are those that the
// gradients belong to.
ConvolutionCall convolution_call(Direction direction, const Tensor& y, const Tensor& x, const Tensor& w,
                                       const Convolution& convolution, const Epilogue& epilogue = {}, bool accumulate = false);

// c = alpha · op(a) · op(b) + beta · c, row-major; op(a) (M, K), op(b) (K, N), c (M, N), each `batch` times.
struct MatmulCall {
    std::int64_t batch, m, n, k;
    bool transpose_a, transpose_b;
    float alpha, beta;

    auto operator<=>(const MatmulCall&) const = default;
    std::string text() const;  // "1 x (64, 256) (256, 100) alpha 1 beta 0"
};

// Throws Error when the shapes do not fit together, or a product is empty.
MatmulCall matmul_call(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                             float beta);

}  // namespace mlkd
