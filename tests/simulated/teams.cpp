// Teams of the simulated GPU: reductions in the order of shuffles, barriers that matter, limits.
#include <cmath>

#include "engine/kernels/arrival.h"
#include "tests/simulated/device.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

constexpr int threads = 96;

struct Reductions {
    float *team_sums, *warp_sums, *maxima;  // (rows · threads)
    const float* x;
    template <class Team>
    void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t at = row * team.size() + team.rank();
        team_sums[at] = team.sum(x[at]);
        warp_sums[at] = team.part().sum(x[at]);
        maxima[at] = team.max(x[at]);
    }
};

// y(row, i) = x(row, n - 1 - i), through shared memory.
struct Reverse {
    float* y;
    const float* x;
    bool synchronised;
    template <class Team>
    void operator()(const Team& team, std::int64_t row) const {
        auto* const shared = team.template scratch<float>();
        shared[team.rank()] = x[row * team.size() + team.rank()];
        if (synchronised) team.sync();
        y[row * team.size() + team.rank()] = shared[team.size() - 1 - team.rank()];
    }
};

struct HalfAtTheBarrier {
    float* y;
    int kind;
    template <class Team>
    void operator()(const Team& team, std::int64_t) const {
        if (kind == 0 && team.rank() < 7) return;
        if (kind == 1 && team.rank() < 7) y[0] = team.sum(1.0f);
        if (kind == 2 && team.rank() == 70) return;
        kind == 2 ? team.part().sync() : team.sync();
    }
};

// Each row waits for all the others.
struct AllWait {
    int* counter;
    int expected;
    template <class Team>
    void operator()(const Team& team, std::int64_t) const {
        arrive(team, counter, expected);
        wait_for(team, counter, expected);
    }
};

// The first row that starts writes, late; the others read.
struct FirstWrites {
    int* counters;
    float *y, *x;
    bool waits;
    template <class Team>
    void operator()(const Team& team, std::int64_t) const {
        const int ticket = take_ticket(team, counters);
        if (ticket == 0) {
            for (int i = 0; i < 10; ++i) team.sync();
            if (team.rank() == 0) *x = 7;
            arrive(team, counters + 1, 1);
        } else {
            if (waits) wait_for(team, counters + 1, 1);
            if (team.rank() == 0) y[ticket - 1] = *x;
        }
    }
};

struct BehindShared {
    float* y;
    int by;
    template <class Team>
    void operator()(const Team& team, std::int64_t) const {
        y[team.rank()] = team.template scratch<float>()[team.rank() + by];
    }
};

}  // namespace

TEST_CASE("simulated team: sums and maxima in the order of a block's shuffles") {
    constexpr int rows = 5;
    const TestStream stream;
    std::vector<float> values;
    for (int i = 0; i < rows * threads; ++i)
        values.push_back(std::sin(static_cast<float>(i)) * std::pow(10.0f, static_cast<float>(i % 9 - 4)));
    const OnDevice<float> x(stream, values), team_sums(values.size()), warp_sums(values.size()), maxima(values.size());
    for_each_row(stream.launcher(), rows, Reductions{team_sums.data(), warp_sums.data(), maxima.data(), x.data()}, {.team_size = threads});
    const auto sums = team_sums.fetched(stream), parts = warp_sums.fetched(stream), largest = maxima.fetched(stream);
    for (int row = 0; row < rows; ++row) {
        float total = 0, most = values[static_cast<std::size_t>(row * threads)];
        for (int warp = 0; warp < threads / 32; ++warp) {
            std::vector<float> lanes(values.begin() + row * threads + warp * 32, values.begin() + row * threads + warp * 32 + 32);
            for (const float lane : lanes) most = std::fmax(most, lane);
            // Halves upon halves, until one is left.
            for (std::size_t half = 16; half > 0; half /= 2)
                for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
            total = warp == 0 ? lanes[0] : total + lanes[0];
            for (int lane = 0; lane < 32; ++lane) CHECK(parts[static_cast<std::size_t>(row * threads + warp * 32 + lane)] == lanes[0]);
        }
        for (int i = 0; i < threads; ++i) {
            CHECK(sums[static_cast<std::size_t>(row * threads + i)] == total);
            CHECK(largest[static_cast<std::size_t>(row * threads + i)] == most);
        }
    }
}

TEST_CASE("simulated team: without a barrier, shared memory is read before it is written, and is NaN then") {
    const TestStream stream;
    std::vector<float> values;
    for (int i = 0; i < 4 * threads; ++i) values.push_back(static_cast<float>(i));
    const OnDevice<float> x(stream, values), y(values.size());
    for (const bool synchronised : {true, false}) {
        for_each_row(stream.launcher(), 4, Reverse{y.data(), x.data(), synchronised},
                     {.scratch_bytes = threads * sizeof(float), .team_size = threads});
        const auto seen = y.fetched(stream);
        int wrong = 0;
        for (int row = 0; row < 4; ++row)
            for (int i = 0; i < threads; ++i)
                wrong += seen[static_cast<std::size_t>(row * threads + i)] == static_cast<float>(row * threads + threads - 1 - i) ? 0 : 1;
        CHECK((wrong == 0) == synchronised);
    }
}

TEST_CASE("simulated team: a barrier that not all members come to is a fault") {
    const TestStream stream;
    const OnDevice<float> y(1);
    const auto fault_with = [&](int kind) {
        return fault_of([&] {
            for_each_row(stream.launcher(), 1, HalfAtTheBarrier{y.data(), kind}, {.team_size = threads});
            stream.wait();
        });
    };
    CHECK(says(fault_with(0), "some members of a team wait at a barrier that the others do not come to"));
    CHECK(says(fault_with(1), "members of a team meet at different barriers"));
    CHECK(says(fault_with(2), "some members of a team wait at a barrier that the others do not come to"));
    CHECK(fault_with(3) == "");
}

TEST_CASE("simulated rows: one that waits lets others go on, what nobody ends is a fault, and a missing wait shows") {
    const TestStream stream;
    const OnDevice<int> counters(stream, {0, 0});
    CHECK(says(fault_of([&] {
                   for_each_row(stream.launcher(), 100, AllWait{counters.data(), 100}, {.team_size = threads});
                   stream.wait();
               }),
               "every row under way waits for a counter that none of them will reach"));
    for (const bool waits : {true, false}) {
        const OnDevice<int> fresh(stream, {0, 0});
        const OnDevice<float> x(stream, {1}), y(9);
        for_each_row(stream.launcher(), 10, FirstWrites{fresh.data(), y.data(), x.data(), waits}, {.team_size = threads});
        const auto seen = y.fetched(stream);
        CHECK((seen == std::vector<float>(9, 7.0f)) == waits);
    }
}

TEST_CASE("simulated launch: threads, warps and shared memory within an H100's limits") {
    const TestStream stream;
    const OnDevice<float> y(1024);
    const auto launch = [&](int team_size, std::size_t bytes) {
        try {
            for_each_row(stream.launcher(), 1, BehindShared{y.data(), 0}, {.scratch_bytes = bytes, .team_size = team_size});
        } catch (const Error& error) {
            return std::string(error.what());
        }
        stream.wait();
        return std::string();
    };
    CHECK(launch(1024, 4096) == "");
    CHECK(says(launch(1056, 8192), "a launch is too large"));
    CHECK(says(fault_of([&] { launch(100, 4096); }), "warps would not be whole"));
    constexpr std::size_t most = 227 * 1024 - 640;
    CHECK(launch(32, most) == "");
    CHECK(says(launch(32, most + 1), "a kernel asks for 231809 bytes of shared memory"));

    const auto launch_unasked = [&](std::size_t bytes) {  // without the opt-in
        const auto* const function = reinterpret_cast<const void*>(&most);
        simulated::launch_rows(function, {1, 32, bytes}, stream, BehindShared{y.data(), 0}, 1);
        return cudaGetLastError();
    };
    CHECK(launch_unasked(48 * 1024 - 640) == cudaSuccess);
    CHECK(launch_unasked(48 * 1024 - 639) == cudaErrorInvalidValue);
    stream.wait();
    CHECK(says(fault_of([&] {
                   for_each_row(stream.launcher(), 1, BehindShared{y.data(), 4}, {.scratch_bytes = 128, .team_size = 32});
                   stream.wait();
               }),
               "access behind the end of the shared memory of a block"));
}
