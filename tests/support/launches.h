#pragma once
// How tests launch kernels in place of the device: on teams of threads, where ThreadSanitizer watches, or into a list that is run later.
// Included by engine/kernels/launch.h in builds with tests.
#include <functional>
#include <utility>
#include <vector>

#include "tests/support/thread_team.h"

namespace mlkd::test {

struct Launches {
    // Rows run on `teams` teams of `team_size` std::threads each; 0: as the stream's device does it.
    int teams = 0, team_size = 0;
    // Where launches go instead of running, while there is such a list.
    std::vector<std::function<void()>>* recorded = nullptr;
};

// A CPU's stream that launches so. `launches` must outlive it.
inline Stream stream_of(const Launches& launches) { return {DeviceKind::cpu, nullptr, launches.teams > 0, &launches}; }

// Whether the launch was taken.
template <class Kernel> bool take_rows(const Stream& stream, std::int64_t rows, const Kernel& kernel, const RowLaunch& launch) {
    if (stream.launches == nullptr) return false;
    if (stream.launches->recorded != nullptr) {
        stream.launches->recorded->push_back([=] { for_each_row(stream, rows, kernel, launch); });
        return true;
    }
#ifndef __CUDACC__
    if (stream.launches->teams > 0) {
        for_each_row_with_threads(stream.launches->teams, stream.launches->team_size, rows, kernel, launch.scratch_bytes);
        return true;
    }
#endif
    return false;
}
template <class Kernel> bool take_indices(const Stream& stream, std::int64_t count, const Kernel& kernel) {
    if (stream.launches == nullptr || stream.launches->recorded == nullptr) return false;
    stream.launches->recorded->push_back([=] { for_each_index(stream, count, kernel); });
    return true;
}

}  // namespace mlkd::test
