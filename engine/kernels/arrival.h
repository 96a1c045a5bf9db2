#pragma once
// What lets the rows of one launch depend on each other: counters that teams add to and wait for. All members call them.
//
// A row may wait only for what rows that started before it do, or it could wait for ever: a GPU runs only so many rows at
// once, a CPU perhaps one. So a kernel with waits takes its row number by take_ticket(), which counts rows as they start.
// The counters are zero before a launch; the team that arrives last of all, when nobody waits any more, makes them zero
// again.
#include "engine/kernels/device_code.h"

namespace mlkd {

// 0, 1, 2, ... for the teams as they come. Orders nothing else: a synchronisation here would hide missing waits from
// ThreadSanitizer.
template <class Team>
MLKD_HD int take_ticket(const Team& team, int* counter) {
    return team.sum(team.rank() == 0 ? fetch_add_relaxed(counter, 1) : 0);
}

// Counts this team. True for the one that makes it `expected`; its members see what all members of the others wrote
// before they arrived.
template <class Team>
MLKD_HD bool arrive(const Team& team, int* counter, int expected) {
    team.sync();
    return team.max(team.rank() == 0 ? fetch_add(counter, 1) + 1 : 0) == expected;
}

// Returns when `expected` teams have arrived at the counter, and their writes are visible to every member.
template <class Team>
MLKD_HD void wait_for(const Team& team, const int* counter, int expected) {
    if (team.rank() == 0) wait_until_at_least(counter, expected);
    team.sync();
}

}  // namespace mlkd
