#pragma once
// Teams of the simulated device: as many members as the launch has threads, in warps of 32. A member is a fiber; at a barrier the
// next one goes on. So a member runs alone until it waits, and what another one still has to write is not there yet: where a
// barrier is missing, results are wrong each time. Some rows are under way at once, and take turns at barriers.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

namespace mlkd::simulated {

inline constexpr int warp_size = 32;

// Room for a value of a reduction.
struct alignas(16) Slot {
    unsigned char bytes[16];
};

// Members that wait for each other: a whole team, or a warp of it.
struct Group {
    int size = 0;
    int arrived = 0;
    std::uint64_t meetings = 0;     // how often all members met
    const void* purpose = nullptr;  // of the meeting under way: members that meet for different ones are lost on a GPU
    Slot result;
};

struct RowsLaunch {
    std::int64_t rows;
    int threads;
    std::size_t shared_bytes;
};

struct TeamState;

// Counts the caller in, and says whether all are there now.
bool last_to_meet(Group& group, const void* purpose);
void wait_for_the_last(Group& group);
void end_meeting(Group& group);
// Waits for the other members of the group. The last one to come runs `before_leaving`.
template <class Work>
void meet(Group& group, const void* purpose, Work before_leaving) {
    if (!last_to_meet(group, purpose)) return wait_for_the_last(group);
    before_leaving();
    end_meeting(group);
}
Group& team_group(TeamState& team);
Group& warp_group(TeamState& team, int warp);
Slot& slot_of(TeamState& team, int member);
unsigned char* shared_memory_of(TeamState& team);

// Each value combined with that `offset` lanes away, for offsets 16, 8, … 1: what shuffles do, in their order.
template <class T, class Combine>
void butterfly(T (&lanes)[warp_size], Combine combine) {
    for (int offset = warp_size / 2; offset > 0; offset /= 2) {
        T combined[warp_size];
        for (int lane = 0; lane < warp_size; ++lane) combined[lane] = combine(lanes[lane], lanes[lane ^ offset]);
        std::memcpy(lanes, combined, sizeof lanes);
    }
}

// The same for the values in the slots of a warp, whose members count from `first` on.
template <class T, class Combine>
void combine_warp(T (&lanes)[warp_size], TeamState& team, int first, Combine combine) {
    for (int lane = 0; lane < warp_size; ++lane) std::memcpy(&lanes[lane], slot_of(team, first + lane).bytes, sizeof(T));
    butterfly(lanes, combine);
}

struct Sum {
    template <class T>
    T operator()(T a, T b) const {
        return a + b;
    }
};
struct Max {
    template <class T>
    T operator()(T a, T b) const {
        return a < b ? b : a;
    }
};
// Its address tells what members meet for.
template <class What>
inline constexpr char purpose_of = 0;

class Warp {
public:
    Warp(TeamState& team, int member) : team_(&team), member_(member) {}

    int rank() const { return member_ % warp_size; }
    static constexpr int size() { return warp_size; }
    void sync() const {
        meet(group(), &purpose_of<void>, [] {});
    }
    template <class T>
    T sum(T value) const {
        return reduce(value, Sum{});
    }
    template <class T>
    T max(T value) const {
        return reduce(value, Max{});
    }

private:
    Group& group() const { return warp_group(*team_, member_ / warp_size); }
    template <class T, class Combine>
    T reduce(T value, Combine combine) const {
        std::memcpy(slot_of(*team_, member_).bytes, &value, sizeof value);
        meet(group(), &purpose_of<Combine>, [&] {
            T lanes[warp_size];
            const int first = member_ - rank();
            combine_warp(lanes, *team_, first, combine);
            for (int lane = 0; lane < warp_size; ++lane) std::memcpy(slot_of(*team_, first + lane).bytes, &lanes[lane], sizeof(T));
        });
        std::memcpy(&value, slot_of(*team_, member_).bytes, sizeof value);
        return value;
    }

    TeamState* team_;
    int member_;
};

class Team {
public:
    Team(TeamState& team, int member, int size) : team_(&team), member_(member), size_(size) {}

    int rank() const { return member_; }
    int size() const { return size_; }
    void sync() const {
        meet(team_group(*team_), &purpose_of<void>, [] {});
    }
    template <class T>
    T sum(T value) const {
        return reduce(value, Sum{});
    }
    template <class T>
    T max(T value) const {
        return reduce(value, Max{});
    }
    template <class T>
    T* scratch() const {
        return reinterpret_cast<T*>(shared_memory_of(*team_));
    }
    Warp part() const { return {*team_, member_}; }
    int part_index() const { return member_ / warp_size; }
    int part_count() const { return size_ / warp_size; }

private:
    // Warps one by one, then their values in order, as a thread block does.
    template <class T, class Combine>
    T reduce(T value, Combine combine) const {
        static_assert(sizeof(T) <= sizeof(Slot));
        std::memcpy(slot_of(*team_, member_).bytes, &value, sizeof value);
        Group& group = team_group(*team_);
        meet(group, &purpose_of<Combine>, [&] {
            T total{};
            for (int warp = 0; warp < part_count(); ++warp) {
                T lanes[warp_size];
                combine_warp(lanes, *team_, warp * warp_size, combine);
                total = warp == 0 ? lanes[0] : combine(total, lanes[0]);
            }
            std::memcpy(group.result.bytes, &total, sizeof total);
        });
        std::memcpy(&value, group.result.bytes, sizeof value);
        return value;
    }

    TeamState* team_;
    int member_;
    int size_;
};

// Runs kernel(team, row) for every row, each member of each team.
void run_rows(const RowsLaunch& launch, const std::function<void(const Team&, std::int64_t)>& kernel);

}  // namespace mlkd::simulated
