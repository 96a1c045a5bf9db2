#include "engine/cpu/reference_convolution.h"

#include <algorithm>

#include "engine/cpu/reference_gemm.h"

namespace mlkd::cpu::reference {
namespace {

// The input position that tap `tap` of output position `out` reads on one axis; it may lie in the padding.
std::int64_t input_position(const ConvolutionCall& p, std::int64_t out, std::int64_t tap) { return out * p.stride + tap - p.padding; }

// out (lines, width, channels): every vector is the product of `filter` (taps · vector, channels) with the vectors that
// source(line, i, r, s) names, nullptr for zeros, strung together tap by tap. finish(line, offset in out, width) follows while
// the line is in the cache. add: the products are added to what is there.
template <class Source, class Finish>
void lines_by_filter(double* out, std::int64_t lines, std::int64_t width, const Columns& filter, std::int64_t taps_r, std::int64_t taps_s,
                     const Source& source, const Finish& finish, bool add = false) {
    const std::int64_t channels = filter.across(), depth = filter.depth(), vector = depth / (taps_r * taps_s);
#pragma omp parallel
    {
        Rows gathered;
#pragma omp for schedule(static)
        for (std::int64_t line = 0; line < lines; ++line) {
            gathered.reshape(width, depth);
            for (std::int64_t i = 0; i < width; ++i)
                for (std::int64_t r = 0; r < taps_r; ++r)
                    for (std::int64_t s = 0; s < taps_s; ++s)
                        if (const double* from = source(line, i, r, s))
                            for (std::int64_t c = 0; c < vector; ++c) gathered.at(i, (r * taps_s + s) * vector + c) = from[c];
            double* const begin = out + line * width * channels;
            if (!add) std::fill_n(begin, width * channels, 0.0);
            add_product(begin, channels, gathered, filter);
            finish(begin, line * width * channels, width);
        }
    }
}

}  // namespace

void convolution_forward(double* y, const double* x, const double* w, const ConvolutionCall& p, const double* bias,
                         const double* residual) {
    const std::int64_t taps = p.r * p.s * p.c, P = p.p(), Q = p.q();
    Columns filter;
    filter.reshape(p.k, taps);
    filter.fill(0, taps, {w, taps, 1});
    const auto source = [&](std::int64_t line, std::int64_t q, std::int64_t r, std::int64_t s) -> const double* {
        const std::int64_t n = line / P, row = input_position(p, line % P, r), column = input_position(p, q, s);
        if (row < 0 || row >= p.h || column < 0 || column >= p.w) return nullptr;
        return x + ((n * p.h + row) * p.w + column) * p.c;
    };
    const auto finish = [&](double* line, std::int64_t offset, std::int64_t width) {
        for (std::int64_t i = 0; i < width * p.k; ++i) {
            if (bias != nullptr) line[i] += bias[i % p.k];
            if (residual != nullptr) line[i] += residual[offset + i];
            if (p.relu && line[i] < 0.0) line[i] = 0.0;  // a NaN passes on
        }
    };
    lines_by_filter(y, p.n * P, Q, filter, p.r, p.s, source, finish);
}

void convolution_backward_data(double* dL_dx, const double* dL_dy, const double* w, const ConvolutionCall& p) {
    const std::int64_t taps = p.r * p.s, P = p.p(), Q = p.q();
    Columns filter;
    filter.reshape(p.c, taps * p.k);
    for (std::int64_t tap = 0; tap < taps; ++tap) filter.fill(tap * p.k, p.k, {w + tap * p.c, 1, taps * p.c});
    // The output position whose tap `tap` reads input position `in`, or -1.
    const auto output_position = [&](std::int64_t in, std::int64_t tap, std::int64_t extent) -> std::int64_t {
        const std::int64_t distance = in + p.padding - tap;
        return distance >= 0 && distance % p.stride == 0 && distance / p.stride < extent ? distance / p.stride : -1;
    };
    const auto source = [&](std::int64_t line, std::int64_t column, std::int64_t r, std::int64_t s) -> const double* {
        const std::int64_t n = line / p.h, row = output_position(line % p.h, r, P), q = output_position(column, s, Q);
        return row < 0 || q < 0 ? nullptr : dL_dy + ((n * P + row) * Q + q) * p.k;
    };
    lines_by_filter(dL_dx, p.n * p.h, p.w, filter, p.r, p.s, source, [](double*, std::int64_t, std::int64_t) {}, p.accumulate);
}

void convolution_backward_filter(double* dL_dw, const double* x, const double* dL_dy, const ConvolutionCall& p) {
    // A task is one tap of a block of filters: it alone sums these elements, over all lines of y in order.
    constexpr std::int64_t block = 32;
    const std::int64_t taps = p.r * p.s, blocks = (p.k + block - 1) / block, P = p.p(), Q = p.q();
#pragma omp parallel
    {
        Rows gradients;
        Columns inputs;
#pragma omp for schedule(static)
        for (std::int64_t task = 0; task < taps * blocks; ++task) {
            const std::int64_t tap = task / blocks, first = task % blocks * block, count = std::min(block, p.k - first);
            double* const out = dL_dw + (first * taps + tap) * p.c;
            for (std::int64_t k = 0; k < count; ++k) std::fill_n(out + k * taps * p.c, p.c, 0.0);
            // The columns of y whose tap lies inside x.
            std::int64_t begin = 0, end = Q;
            while (begin < Q && input_position(p, begin, tap % p.s) < 0) ++begin;
            while (end > begin && input_position(p, end - 1, tap % p.s) >= p.w) --end;
            for (std::int64_t line = 0; line < p.n * P && begin < end; ++line) {
                const std::int64_t row = input_position(p, line % P, tap / p.s);
                if (row < 0 || row >= p.h) continue;
                const double* const from = x + ((line / P * p.h + row) * p.w + input_position(p, begin, tap % p.s)) * p.c;
                gradients.reshape(count, end - begin);
                gradients.fill(0, end - begin, {dL_dy + (line * Q + begin) * p.k + first, 1, p.k});
                inputs.reshape(p.c, end - begin);
                inputs.fill(0, end - begin, {from, 1, p.stride * p.c});
                add_product(out, taps * p.c, gradients, inputs);
            }
        }
    }
}

}  // namespace mlkd::cpu::reference
