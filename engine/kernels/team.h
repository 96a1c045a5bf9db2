#pragma once
// A team is the group of threads that works on one row of a kernel. Every own kernel is written once against it:
//
//     template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
//         float sum = 0;
//         for (std::int64_t i = team.rank(); i < n; i += team.size()) sum += x[row * n + i];
//         sum = team.sum(sum);                       // every member gets the total
//         if (team.rank() == 0) y[row] = sum;
//     }
//
// A team offers rank(), size(), sync(), sum(), max() and scratch(): memory that the members of one row share, 16-byte
// aligned, of the size given at launch, undefined at the start of a row. Where a whole team is too many for a piece of
// work, it falls into part_count() parts of equal size: part(), the caller's, is a team itself (without scratch memory
// and parts), and the part_index()-th of them; a warp on a GPU. On a CPU a team is one thread
// (SerialTeam), so the loops above are plain loops; on a GPU it is a thread block (launch.h); in tests it is a handful
// of std::threads (tests/support/thread_team.h), where ThreadSanitizer finds the races of the same source.
#include "engine/kernels/device_code.h"

namespace mlkd {

class SerialTeam {
public:
    MLKD_HD explicit SerialTeam(unsigned char* scratch = nullptr) : scratch_(scratch) {}

    MLKD_HD static constexpr int rank() { return 0; }
    MLKD_HD static constexpr int size() { return 1; }
    MLKD_HD void sync() const {}
    template <class T> MLKD_HD T sum(T value) const { return value; }
    template <class T> MLKD_HD T max(T value) const { return value; }
    template <class T> MLKD_HD T* scratch() const { return reinterpret_cast<T*>(scratch_); }
    MLKD_HD static SerialTeam part() { return SerialTeam(); }
    MLKD_HD static constexpr int part_index() { return 0; }
    MLKD_HD static constexpr int part_count() { return 1; }

private:
    unsigned char* scratch_;
};

}  // namespace mlkd
