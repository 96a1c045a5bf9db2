#pragma once
// The team of the tests: std::threads behind a barrier, so that ThreadSanitizer sees every unsynchronised access of a
// kernel that the GPU will run. Reductions combine in order of rank: the same bits every time.
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace mlkd {

// Part of a ThreadTeam, or the whole: the members from `first` on, behind a barrier of their own.
class ThreadGroup {
public:
    struct alignas(16) Slot {
        unsigned char bytes[16];
    };

    ThreadGroup(std::barrier<>& barrier, Slot* slots, int size, int rank) : barrier_(&barrier), slots_(slots), size_(size), rank_(rank) {}

    int rank() const { return rank_; }
    int size() const { return size_; }
    void sync() const { barrier_->arrive_and_wait(); }
    template <class T>
    T sum(T value) const {
        return reduce(value, [](T a, T b) { return a + b; });
    }
    template <class T>
    T max(T value) const {
        return reduce(value, [](T a, T b) { return a < b ? b : a; });
    }

private:
    template <class T, class Combine>
    T reduce(T value, Combine combine) const {
        static_assert(sizeof(T) <= sizeof(Slot));
        std::memcpy(slots_[rank_].bytes, &value, sizeof(T));
        sync();
        T total;
        std::memcpy(&total, slots_[0].bytes, sizeof(T));
        for (int other = 1; other < size_; ++other) {
            T next;
            std::memcpy(&next, slots_[other].bytes, sizeof(T));
            total = combine(total, next);
        }
        sync();  // nobody may overwrite a slot that another still reads
        return total;
    }

    std::barrier<>* barrier_;
    Slot* slots_;  // one a member
    int size_;
    int rank_;
};

// A team of even size falls into two parts, one of odd size into parts of one.
class ThreadTeam : public ThreadGroup {
public:
    // What the members of one team share.
    struct Shared {
        Shared(int team_size, std::size_t scratch_bytes)
            : size(team_size),
              part_count(team_size % 2 == 0 ? 2 : team_size),
              barrier(team_size),
              slots(static_cast<std::size_t>(team_size)),
              scratch(scratch_bytes / sizeof(Slot) + 1) {
            for (int part = 0; part < part_count; ++part) part_barriers.push_back(std::make_unique<std::barrier<>>(team_size / part_count));
        }
        int size, part_count;
        std::barrier<> barrier;
        std::vector<std::unique_ptr<std::barrier<>>> part_barriers;
        std::vector<Slot> slots;
        std::vector<Slot> scratch;
    };

    ThreadTeam(Shared& shared, int rank) : ThreadGroup(shared.barrier, shared.slots.data(), shared.size, rank), shared_(&shared) {}

    template <class T>
    T* scratch() const {
        return reinterpret_cast<T*>(shared_->scratch.data());
    }
    int part_count() const { return shared_->part_count; }
    int part_index() const { return rank() / part_size(); }
    ThreadGroup part() const {
        const int first = part_index() * part_size();
        return {*shared_->part_barriers[static_cast<std::size_t>(part_index())], shared_->slots.data() + first, part_size(),
                rank() - first};
    }

private:
    int part_size() const { return size() / part_count(); }

    Shared* shared_;
};

// Runs `kernel` on rows 0..rows-1 with `teams` teams of `team_size` threads at once; team t takes rows t, t + teams, …
template <class Kernel>
void for_each_row_with_threads(int teams, int team_size, std::int64_t rows, const Kernel& kernel, std::size_t scratch_bytes = 0) {
    std::vector<std::unique_ptr<ThreadTeam::Shared>> shared;
    for (int t = 0; t < teams; ++t) shared.push_back(std::make_unique<ThreadTeam::Shared>(team_size, scratch_bytes));
    std::vector<std::thread> threads;
    for (int t = 0; t < teams; ++t)
        for (int rank = 0; rank < team_size; ++rank)
            threads.emplace_back([&, t, rank] {
                const ThreadTeam team(*shared[static_cast<std::size_t>(t)], rank);
                for (std::int64_t row = t; row < rows; row += teams) {
                    kernel(team, row);
                    team.sync();
                }
            });
    for (std::thread& thread : threads) thread.join();
}

}  // namespace mlkd
