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

class ThreadTeam {
public:
    // What the members of one team share.
    struct Shared {
        Shared(int size, std::size_t scratch_bytes)
            : barrier(size), slots(static_cast<std::size_t>(size)), scratch(scratch_bytes / 16 + 1) {}
        struct alignas(16) Slot {
            unsigned char bytes[16];
        };
        std::barrier<> barrier;
        std::vector<Slot> slots;
        std::vector<Slot> scratch;
    };

    ThreadTeam(Shared& shared, int rank) : shared_(&shared), rank_(rank) {}

    int rank() const { return rank_; }
    int size() const { return static_cast<int>(shared_->slots.size()); }
    void sync() const { shared_->barrier.arrive_and_wait(); }
    template <class T> T sum(T value) const {
        return reduce(value, [](T a, T b) { return a + b; });
    }
    template <class T> T max(T value) const {
        return reduce(value, [](T a, T b) { return a < b ? b : a; });
    }
    template <class T> T* scratch() const { return reinterpret_cast<T*>(shared_->scratch.data()); }

private:
    template <class T, class Combine> T reduce(T value, Combine combine) const {
        static_assert(sizeof(T) <= sizeof(Shared::Slot));
        std::memcpy(shared_->slots[static_cast<std::size_t>(rank_)].bytes, &value, sizeof(T));
        sync();
        T total;
        std::memcpy(&total, shared_->slots[0].bytes, sizeof(T));
        for (std::size_t other = 1; other < shared_->slots.size(); ++other) {
            T next;
            std::memcpy(&next, shared_->slots[other].bytes, sizeof(T));
            total = combine(total, next);
        }
        sync();  // nobody may overwrite a slot that another still reads
        return total;
    }

    Shared* shared_;
    int rank_;
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
