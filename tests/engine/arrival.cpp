// Rows that wait for other rows of their launch.
#include "engine/kernels/arrival.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/kernels/launch.h"

using namespace mlkd;

namespace {

// Three stages in one launch. The first rows write x; the next ones wait for all of them and write their sums; the row
// of these that arrives last adds the sums in order, and makes the counters zero.
struct ThreeStages {
    std::int64_t* total;    // (1)
    std::int64_t* sums;     // (rows)
    std::int64_t* x;        // (rows, n)
    std::int64_t* tickets;  // (2 rows): how often each came
    int* counters;          // (3)
    int rows;
    int n;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        const int row = take_ticket(team, counters);
        if (team.rank() == 0) ++tickets[row];
        if (row < rows) {
            for (int i = team.rank(); i < n; i += team.size()) x[row * n + i] = row * 1000 + i;
            arrive(team, counters + 1, rows);
            return;
        }
        wait_for(team, counters + 1, rows);
        std::int64_t sum = 0;  // of a column, or more: what other teams wrote
        for (int i = team.rank(); i < rows * n; i += team.size())
            if (i % rows == row - rows) sum += x[i];
        sum = team.sum(sum);
        if (team.rank() == 0) sums[row - rows] = sum;
        if (!arrive(team, counters + 2, rows)) return;
        for (int i = team.rank(); i < rows; i += team.size()) sums[i] *= 2;  // every member may write here now
        team.sync();
        if (team.rank() == 0) {
            *total = 0;
            for (int i = 0; i < rows; ++i) *total += sums[i];
        }
        for (int i = team.rank(); i < 3; i += team.size()) counters[i] = 0;
    }
};

void check(const Stream& stream, int rows, int n) {
    std::vector<std::int64_t> total(1), sums(static_cast<std::size_t>(rows)), x(static_cast<std::size_t>(rows * n)),
        tickets(static_cast<std::size_t>(2 * rows));
    std::vector<int> counters(3);
    std::int64_t expected = 0;
    for (int row = 0; row < rows; ++row)
        for (int i = 0; i < n; ++i) expected += 2 * (row * 1000 + i);
    for (int launch = 1; launch <= 4; ++launch) {
        std::fill(x.begin(), x.end(), -1);
        std::fill(sums.begin(), sums.end(), -1);
        for_each_row(stream, 2 * rows, ThreeStages{total.data(), sums.data(), x.data(), tickets.data(), counters.data(), rows, n});
        CHECK(total[0] == expected);
        for (std::int64_t times : tickets) CHECK(times == launch);
        for (int counter : counters) CHECK(counter == 0);
    }
}

// What parts of a team get from their own reductions.
struct SumsOfParts {
    int* sums;     // (rows, members)
    int* members;  // (rows, members)

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const auto part = team.part();
        const std::int64_t at = row * team.size() + team.rank();
        for (int repetition = 0; repetition < 3; ++repetition) {
            if (team.part_index() % 2 == repetition % 2) continue;  // the parts do not go in step
            sums[at] = part.sum(1 << team.rank());
            sums[at] += part.max(team.part_index());
        }
        members[at] = part.rank() + part.size() * team.part_index() == team.rank() ? part.size() * team.part_count() : -1;
        const int all = team.sum(1);  // the whole team again
        if (all != team.size()) members[at] = -1;
    }
};

}  // namespace

TEST_CASE("arrival: rows of a launch wait for others, on OpenMP's threads") {
    for (int rows : {1, 2, 7, 40}) check(Stream{}, rows, 13);
}

TEST_SUITE("team") {
    // Seen to fail under the tsan preset: with relaxed counters, with no sync() in arrive(), and with none in wait_for().
    TEST_CASE("arrival: rows of a launch wait for others, under teams of threads") {
        for (const auto& [teams, size] : {std::pair{1, 1}, std::pair{1, 3}, std::pair{2, 4}, std::pair{5, 2}, std::pair{3, 5}})
            for (int rows : {1, 2, 7}) check(test::stream_of(test::Launches{teams, size}), rows, 13);
    }

    TEST_CASE("a team of threads falls into parts that reduce on their own") {
        for (int size : {1, 2, 3, 4, 6, 7}) {
            constexpr int rows = 5;
            std::vector<int> sums(static_cast<std::size_t>(rows * size)), members(static_cast<std::size_t>(rows * size));
            for_each_row(test::stream_of(test::Launches{2, size}), rows, SumsOfParts{sums.data(), members.data()});
            const int part_size = size % 2 == 0 ? size / 2 : 1;
            for (int row = 0; row < rows; ++row)
                for (int rank = 0; rank < size; ++rank) {
                    const int index = rank / part_size;
                    const auto at = static_cast<std::size_t>(row * size + rank);
                    CHECK(sums[at] == (((1 << part_size) - 1) << (index * part_size)) + index);
                    CHECK(members[at] == size);
                }
        }
    }
}
