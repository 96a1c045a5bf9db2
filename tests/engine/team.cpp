// Kernels under a team of threads: the same results as under one thread, and, in the tsan build, no race.
//
// That ThreadSanitizer would see one is itself a test: race/race.cpp is ReverseRow without its sync(), and CTest insists
// that it is reported. By hand: cmake --preset tsan && cmake --build build/tsan --target seeded_race &&
// build/tsan/bin/seeded_race; it prints
//     WARNING: ThreadSanitizer: data race
//       Write of size 4 at … by thread T2: operator()<mlkd::ThreadTeam> …/tests/engine/race/race.cpp:19
//       Previous read of size 4 at … by thread T1: operator()<mlkd::ThreadTeam> …/tests/engine/race/race.cpp:20
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/launch.h"
#include "tests/engine/buffers.h"
#include "tests/engine/row_kernels.h"
#include "tests/support/thread_team.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Extents {
    int teams, team_size;
    std::int64_t rows, n;
};

// Teams beyond the rows, members beyond the elements, and none of them a power of two.
const std::vector<Extents> extents{{1, 1, 3, 5}, {3, 4, 7, 13}, {2, 5, 9, 3}, {4, 3, 1, 257}, {3, 3, 11, 1}, {1, 7, 5, 100}};

}  // namespace

TEST_SUITE("team") {
    TEST_CASE("reductions give every member of a team of threads the same total, row after row") {
        for (const Extents& e : extents) {
            Buffer x({e.rows, e.n}), serial({e.rows, e.n}), parallel({e.rows, e.n});
            x.fill_random(1);
            for (std::int64_t i = 0; i < e.rows * e.n; ++i) x.data()[i] += 2;
            for_each_row(Stream{}, e.rows, ScaleByRow{serial.data(), x.data(), e.n});
            for_each_row_with_threads(e.teams, e.team_size, e.rows, ScaleByRow{parallel.data(), x.data(), e.n});
            // The order of the sum differs, and it is in double: half a unit in the last place of a float remains.
            for (std::int64_t i = 0; i < e.rows * e.n; ++i) CHECK(parallel[i] == doctest::Approx(serial[i]).epsilon(2e-7));
        }
    }

    TEST_CASE("a team of threads reduces to the same bits every time") {
        const Extents e{3, 5, 8, 1001};
        Buffer x({e.rows, e.n}), first({e.rows, e.n});
        x.fill_random(2);
        for_each_row_with_threads(e.teams, e.team_size, e.rows, ScaleByRow{first.data(), x.data(), e.n});
        for (int repetition = 0; repetition < 5; ++repetition) {
            Buffer again({e.rows, e.n});
            for_each_row_with_threads(e.teams, e.team_size, e.rows, ScaleByRow{again.data(), x.data(), e.n});
            CHECK(again.values() == first.values());
        }
    }

    TEST_CASE("the members of a row share its scratch memory") {
        for (const Extents& e : extents) {
            Buffer serial({e.rows, e.n}), parallel({e.rows, e.n});
            serial.fill_random(3);
            parallel.fill_random(3);
            std::vector<float> expected = serial.values();
            for (std::int64_t row = 0; row < e.rows; ++row) std::reverse(expected.begin() + row * e.n, expected.begin() + (row + 1) * e.n);
            const std::size_t scratch_bytes = static_cast<std::size_t>(e.n) * sizeof(float);
            for_each_row(Stream{}, e.rows, ReverseRow{serial.data(), e.n}, {.scratch_bytes = scratch_bytes});
            for_each_row_with_threads(e.teams, e.team_size, e.rows, ReverseRow{parallel.data(), e.n}, scratch_bytes);
            CHECK(serial.values() == expected);
            CHECK(parallel.values() == expected);
        }
    }

    TEST_CASE("element-wise kernels reach every element, and no other") {
        for (const std::int64_t n : {0, 1, 7, 4096, 4097, 10001}) {
            Buffer to({n}), from({n});
            from.fill_random(4);
            fill(Stream{}, to.tensor(), 3.0f);
            add_to(Stream{}, to.tensor(), from.tensor());
            for (std::int64_t i = 0; i < n; ++i) REQUIRE(to[i] == 3.0f + from[i]);
            copy(Stream{}, to.tensor(), from.tensor());
            CHECK(to.values() == from.values());
        }
        Buffer a({3}), b({4});
        CHECK_THROWS_AS(add_to(Stream{}, a.tensor(), b.tensor()), Error);
    }

    TEST_CASE("a kernel for a GPU that this build cannot reach is a clear error") {
        Stream stream;
        stream.device = DeviceKind::cuda;
        Buffer a({3});
        std::string why;
        if (make_cuda_backend({}, why) == nullptr) CHECK_THROWS_AS(fill(stream, a.tensor(), 0), Error);
    }
}
