#include "engine/vendor_calls.h"

#include <fmt/format.h>

#include <array>

#include "engine/error.h"
#include "engine/types.h"

namespace mlkd {

ConvolutionCall convolution_call(Direction direction, const Tensor& y, const Tensor& x, const Tensor& w,
                                       const Convolution& convolution, const Epilogue& epilogue, bool accumulate) {
    const Shape expected = convolution_output_shape(x.shape, w.shape, convolution);
    MLKD_CHECK(y.shape == expected, "convolution: result " + y.shape.text() + " should be " + expected.text());
    MLKD_CHECK(x.elements() > 0 && w.elements() > 0,
               "convolution: nothing to do for input " + x.shape.text() + " and filter " + w.shape.text());
    MLKD_CHECK(is_stored(x.dtype), std::string("convolution: cannot compute in ") + name_of(x.dtype));
    const ConvolutionCall call{.direction = direction,
                                     .n = x.dim(0),
                                     .h = x.dim(1),
                                     .w = x.dim(2),
                                     .c = x.dim(3),
                                     .k = w.dim(0),
                                     .r = w.dim(1),
                                     .s = w.dim(2),
                                     .stride = convolution.stride,
                                     .padding = convolution.padding,
                                     .bias = !epilogue.bias.empty(),
                                     .residual = !epilogue.residual.empty(),
                                     .relu = epilogue.relu,
                                     .dtype = x.dtype,
                                     .accumulate = accumulate};
    MLKD_CHECK(!accumulate || direction == Direction::backward_data, "convolution: only a gradient of its input adds up");
    y.require(call.dtype);
    w.require(call.dtype);
    if (call.bias) epilogue.bias.require(call.dtype);
    if (call.residual) epilogue.residual.require(call.dtype);
    MLKD_CHECK(!call.bias || epilogue.bias.shape == Shape{call.k},
               "convolution: bias " + epilogue.bias.shape.text() + " should be " + Shape{call.k}.text());
    MLKD_CHECK(!call.residual || epilogue.residual.shape == y.shape,
               "convolution: residual " + epilogue.residual.shape.text() + " should be " + y.shape.text());
    MLKD_CHECK(!call.residual || epilogue.residual.data != y.data, "convolution: the residual must not be the result");
    return call;
}

MatmulCall matmul_call(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                             float beta) {
    const int rank = c.shape.rank();
    const bool ta = transpose_a == Transpose::yes, tb = transpose_b == Transpose::yes;
    const std::string shapes =
        a.shape.text() + (ta ? "^T " : " ") + b.shape.text() + (tb ? "^T" : "") + " -> " + c.shape.text();
    const bool same_rank = (rank == 2 || rank == 3) && a.shape.rank() == rank && b.shape.rank() == rank;
    MLKD_CHECK(same_rank, "matrix product: ranks differ or are not 2 or 3: " + shapes);
    const int rows = rank - 2, columns = rank - 1;
    const std::int64_t m = a.dim(ta ? columns : rows), k = a.dim(ta ? rows : columns), n = b.dim(tb ? rows : columns);
    const std::int64_t batch = rank == 3 ? c.dim(0) : 1;
    const bool fits = b.dim(tb ? columns : rows) == k && c.dim(rows) == m && c.dim(columns) == n &&
                      (rank == 2 || (a.dim(0) == batch && b.dim(0) == batch));
    MLKD_CHECK(fits, "matrix product: shapes do not fit: " + shapes);
    MLKD_CHECK(batch * m * n * k > 0, "matrix product: nothing to do for " + shapes);
    return {.batch = batch, .m = m, .n = n, .k = k, .transpose_a = ta, .transpose_b = tb, .alpha = alpha, .beta = beta};
}

std::string ConvolutionCall::text() const {
    constexpr std::array directions{"forward", "backward_data", "backward_filter"};
    return fmt::format("{} x({}, {}, {}, {}) w({}, {}, {}, {}) stride {} padding {}{}{}{}{}{}", directions[static_cast<std::size_t>(direction)],
                       n, h, w, c, k, r, s, c, stride, padding, bias ? " bias" : "", residual ? " residual" : "", relu ? " relu" : "",
                       dtype == DType::f32 ? "" : fmt::format(" {}", name_of(dtype)), accumulate ? " accumulate" : "");
}

std::string MatmulCall::text() const {
    return fmt::format("{} x ({}, {}){} ({}, {}){} alpha {} beta {}", batch, m, k, transpose_a ? "^T" : "", k, n, transpose_b ? "^T" : "",
                       alpha, beta);
}

}  // namespace mlkd
