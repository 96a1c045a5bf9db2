#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "tests/engine/buffers.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Case {
    std::int64_t batch, m, n, k;  // batch 0: matrices of rank 2
};

Shape shape_of(std::int64_t batch, std::int64_t rows, std::int64_t columns, bool transposed) {
    if (transposed) std::swap(rows, columns);
    return batch == 0 ? Shape{rows, columns} : Shape{batch, rows, columns};
}

// alpha · op(a) · op(b) + beta · c in double.
std::vector<double> naive_matmul(const Case& p, const Buffer& a, bool ta, const Buffer& b, bool tb, const Buffer& c, double alpha,
                                 double beta) {
    std::vector<double> out;
    for (std::int64_t i = 0; i < std::max<std::int64_t>(p.batch, 1); ++i)
        for (std::int64_t row = 0; row < p.m; ++row)
            for (std::int64_t column = 0; column < p.n; ++column) {
                double sum = 0;
                for (std::int64_t k = 0; k < p.k; ++k)
                    sum += double{a[i * p.m * p.k + (ta ? k * p.m + row : row * p.k + k)]} *
                           b[i * p.k * p.n + (tb ? column * p.k + k : k * p.n + column)];
                const double before = beta == 0 ? 0 : beta * c[(i * p.m + row) * p.n + column];
                out.push_back(alpha * sum + before);
            }
    return out;
}

}  // namespace

TEST_CASE("matrix product equals its definition for every transposition, batch, alpha and beta") {
    const auto backend = make_cpu_backend();
    for (const Case& p : std::vector<Case>{{0, 1, 1, 1},
                                           {0, 3, 5, 7},
                                           {0, 64, 100, 257},
                                           {0, 33, 1, 19},
                                           {0, 1, 31, 64},
                                           {0, 17, 130, 1},
                                           {1, 4, 3, 2},
                                           {3, 13, 11, 5},
                                           {7, 1, 9, 3},
                                           {5, 65, 64, 100}})
        for (const bool ta : {false, true})
            for (const bool tb : {false, true})
                for (const auto& [alpha, beta] : std::vector<std::pair<float, float>>{{1, 0}, {-0.5f, 0}, {1, 1}, {2, -0.25f}}) {
                    Buffer a(shape_of(p.batch, p.m, p.k, ta)), b(shape_of(p.batch, p.k, p.n, tb)), c(shape_of(p.batch, p.m, p.n, false));
                    a.fill_random(1);
                    b.fill_random(2);
                    if (beta != 0) c.fill_random(3);  // otherwise NaN: beta 0 must not read c
                    const auto expected = naive_matmul(p, a, ta, b, tb, c, alpha, beta);
                    backend->matmul(c.tensor(), a.tensor(), Transpose{ta}, b.tensor(), Transpose{tb}, alpha, beta);
                    CAPTURE(a.shape().text());
                    CAPTURE(b.shape().text());
                    CAPTURE(ta);
                    CAPTURE(tb);
                    CAPTURE(alpha);
                    CAPTURE(beta);
                    CHECK(relative_difference(c, expected) < 1e-5);  // sums of up to 257 products in float32
                }
}

TEST_CASE("matrix product repeats bit for bit") {
    const auto backend = make_cpu_backend();
    Buffer a({64, 256}), b({100, 256}), first({64, 100});
    a.fill_random(1);
    b.fill_random(2);
    backend->matmul(first.tensor(), a.tensor(), Transpose::no, b.tensor(), Transpose::yes);
    for (int repetition = 0; repetition < 5; ++repetition) {
        Buffer c({64, 100});
        backend->matmul(c.tensor(), a.tensor(), Transpose::no, b.tensor(), Transpose::yes);
        CHECK(c.values() == first.values());
    }
}

TEST_CASE("matrix product refuses shapes that do not fit") {
    const auto backend = make_cpu_backend();
    Buffer a({3, 4}), b({5, 4}), c({3, 5}), batched({2, 3, 4});
    CHECK_THROWS_AS(backend->matmul(c.tensor(), a.tensor(), Transpose::no, b.tensor(), Transpose::no), Error);
    CHECK_THROWS_AS(backend->matmul(c.tensor(), batched.tensor(), Transpose::no, b.tensor(), Transpose::yes), Error);
    CHECK_THROWS_AS(backend->matmul(a.tensor(), a.tensor(), Transpose::no, b.tensor(), Transpose::yes), Error);
}
