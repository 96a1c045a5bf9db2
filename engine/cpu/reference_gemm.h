#pragma once
// Matrix products in double, for the reference precision: oneDNN has none. Operands are cut into panels, narrow and as long
// as the summed dimension, so that one small kernel in registers does all the arithmetic. Every element is summed in one
// order, whatever the number of threads.
#include <cstdint>
#include <vector>

namespace mlkd::cpu::reference {

// A matrix wherever it lies: element (i, t) at data[i · stride + t · depth_stride].
struct Strided {
    const double* data;
    std::int64_t stride, depth_stride;
};

// One operand of Σ_t a(i, t) · b(j, t): i or j runs across panels of `width`, t along them; ragged ends are zero.
template <int width> class Panels {
public:
    // Zeros. Memory is kept from call to call.
    void reshape(std::int64_t across, std::int64_t depth) {
        across_ = across;
        depth_ = depth;
        values_.assign(static_cast<std::size_t>((across + width - 1) / width * width * depth), 0.0);
    }
    double& at(std::int64_t i, std::int64_t t) { return values_[static_cast<std::size_t>((i / width * depth_ + t) * width + i % width)]; }
    // Fills t in [first, first + depth) of every i.
    void fill(std::int64_t first, std::int64_t depth, const Strided& from) {
        for (std::int64_t i = 0; i < across_; ++i)
            for (std::int64_t t = 0; t < depth; ++t) at(i, first + t) = from.data[i * from.stride + t * from.depth_stride];
    }
    const double* panel(std::int64_t i) const { return values_.data() + i / width * width * depth_; }
    std::int64_t across() const { return across_; }
    std::int64_t depth() const { return depth_; }

private:
    std::int64_t across_ = 0, depth_ = 0;
    std::vector<double> values_;
};

// A tile of 4 × 8 results: eight registers of four doubles, with enough left for the operands.
constexpr int tile_rows = 4, tile_columns = 8;
using Rows = Panels<tile_rows>;
using Columns = Panels<tile_columns>;

// c(i, j) += Σ_t a(i, t) · b(j, t); rows of c are `stride` apart.
void add_product(double* c, std::int64_t stride, const Rows& a, const Columns& b);

// c = alpha · op(a) · op(b) + beta · c on contiguous row-major matrices, as Backend::matmul defines it. With beta = 0
// whatever c held is not read.
void matmul(double* c, const double* a, const double* b, std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k,
            bool transpose_a, bool transpose_b, double alpha, double beta);

}  // namespace mlkd::cpu::reference
