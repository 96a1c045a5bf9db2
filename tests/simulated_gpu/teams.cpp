#include "tests/simulated_gpu/teams.h"

#include <sys/mman.h>

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/kernels/device_code.h"
#include "tests/simulated_gpu/device.h"
#include "tests/simulated_gpu/memory.h"

namespace mlkd::simulated {
namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t teams_at_once = 2;

// Memory with a page behind (or, for a stack, which grows downwards, before) it that nobody may touch.
std::byte* guarded(std::size_t bytes, bool guard_behind, const char* what) {
    void* const start = mmap(nullptr, bytes + page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) fault(std::string("no memory for ") + what);
    auto* const first = static_cast<std::byte*>(start);
    std::byte* const guard = guard_behind ? first + bytes : first;
    mprotect(guard, page_size, PROT_NONE);
    note_guard_page(guard, what);
    return guard_behind ? first : first + page_size;
}

struct StackAllocator {
    static constexpr std::size_t bytes = std::size_t{128} << 10;
    boost::context::stack_context allocate() const {
        boost::context::stack_context stack;
        stack.size = bytes;
        stack.sp = guarded(bytes, false, "the stack of a thread") + bytes;
        return stack;
    }
    void deallocate(boost::context::stack_context&) const noexcept {}  // workers live as long as the program
};

enum class Stage { before, running, meeting, counting, done };

struct Worker;

struct Member {
    Stage stage = Stage::before;
    Worker* worker = nullptr;      // that holds it while it is under way
    const Group* group = nullptr;  // where it waits
    std::uint64_t meeting = 0;
    const int* counter = nullptr;
    int at_least = 0;

    bool can_go_on() const {
        if (stage == Stage::meeting) return group->meetings != meeting;
        return stage == Stage::counting && __atomic_load_n(counter, __ATOMIC_ACQUIRE) >= at_least;
    }
};

using RowKernel = std::function<void(const Team&, std::int64_t)>;

}  // namespace

struct TeamState {
    explicit TeamState(const RowsLaunch& launch)
        : members(static_cast<std::size_t>(launch.threads)),
          slots(static_cast<std::size_t>(launch.threads)),
          warps(static_cast<std::size_t>(launch.threads / warp_size)) {
        team.size = launch.threads;
        for (Group& warp : warps) warp.size = warp_size;
    }

    std::vector<Member> members;
    std::vector<Slot> slots;
    Group team;
    std::vector<Group> warps;
    unsigned char* shared_memory = nullptr;
    std::int64_t row = 0;
    const RowKernel* kernel = nullptr;
    int started = 0, done = 0;
    bool backwards = false;  // the order in which members start

    bool under_way() const { return kernel != nullptr; }
};

namespace {

// A fiber that runs members of a team one after the other until one has to wait; that one keeps it.
struct Worker {
    boost::context::fiber itself, scheduler;
    TeamState* team = nullptr;
    int member = -1;

    Worker() : itself(std::allocator_arg, StackAllocator{}, [this](boost::context::fiber&& from) { return run(std::move(from)); }) {}

    boost::context::fiber run(boost::context::fiber&& from) {
        scheduler = std::move(from);
        while (true) {
            const int size = team->team.size;
            while (team->started < size) {
                const int turn = team->started++;
                member = team->backwards ? size - 1 - turn : turn;
                Member& me = team->members[static_cast<std::size_t>(member)];
                me.stage = Stage::running;
                me.worker = this;
                (*team->kernel)(Team(*team, member, size), team->row);
                me.stage = Stage::done;
                ++team->done;
            }
            member = -1;
            leave();
        }
    }
    void leave() { scheduler = std::move(scheduler).resume(); }
    void enter();
};

Worker* current = nullptr;  // the fiber that runs, of the one thread that runs work

void Worker::enter() {
    current = this;
    itself = std::move(itself).resume();
    current = nullptr;
}

// Fibers are made once and used again.
std::vector<Worker*>& idle_workers() {
    static auto* const workers = new std::vector<Worker*>;
    return *workers;
}

Worker& idle_worker() {
    std::vector<Worker*>& idle = idle_workers();
    if (idle.empty()) return *new Worker;
    Worker& worker = *idle.back();
    idle.pop_back();
    return worker;
}

// Shared memory for teams at once, of the most that a block may have; an access behind a block's end is a fault.
unsigned char* shared_memory(std::size_t place, std::size_t bytes) {
    constexpr std::size_t most = std::size_t{256} << 10;
    static std::byte* ends[teams_at_once] = {};
    if (ends[place] == nullptr) ends[place] = guarded(most, true, "the shared memory of a block") + most;
    return reinterpret_cast<unsigned char*>(ends[place] - (bytes + 15) / 16 * 16);
}

class Scheduler {
public:
    Scheduler(const RowsLaunch& launch, const RowKernel& kernel) : launch_(launch), kernel_(kernel) {
        static std::uint64_t launches = 0;
        number_ = ++launches;
        for (std::size_t place = 0; place < std::min<std::size_t>(teams_at_once, static_cast<std::size_t>(launch.rows)); ++place) {
            teams_.push_back(std::make_unique<TeamState>(launch));
            teams_.back()->shared_memory = shared_memory(place, launch.shared_bytes);
        }
    }

    void run() {
        for (auto& team : teams_) start_next_row(*team);
        std::size_t turn = 0, stuck = 0;
        while (finished_ < launch_.rows) {
            TeamState& team = *teams_[turn++ % teams_.size()];
            if (!team.under_way()) continue;
            if (go_on(team)) {
                stuck = 0;
            } else if (++stuck > teams_.size()) {
                fault("every row under way waits for a counter that none of them will reach");
            }
            if (team.done < team.team.size) continue;
            ++finished_;
            team.kernel = nullptr;
            start_next_row(team);
        }
    }

private:
    void start_next_row(TeamState& team) {
        if (next_ == launch_.rows) return;
        const std::int64_t turn = next_++;
        team.row = number_ % 2 == 0 ? turn : launch_.rows - 1 - turn;  // a GPU promises no order
        team.backwards = (number_ / 2 + static_cast<std::uint64_t>(turn)) % 2 != 0;
        team.kernel = &kernel_;
        team.started = team.done = 0;
        std::fill(team.members.begin(), team.members.end(), Member{});
        std::memset(team.shared_memory, 0xff, launch_.shared_bytes);
    }

    // Lets every member that can go on do so, as far as it comes. False where none could.
    bool go_on(TeamState& team) {
        bool progress = false;
        while (team.started < team.team.size) {
            Worker& worker = idle_worker();
            worker.team = &team;
            worker.enter();
            settle(worker);
            progress = true;
        }
        for (int turn = 0; turn < team.team.size; ++turn) {
            Member& member = team.members[static_cast<std::size_t>(team.backwards ? team.team.size - 1 - turn : turn)];
            if (member.stage == Stage::done || !member.can_go_on()) continue;
            member.stage = Stage::running;
            Worker& worker = *member.worker;
            worker.enter();
            settle(worker);
            progress = true;
        }
        if (!progress) check_barriers(team);
        return progress;
    }

    // A worker that came back holds a member that waits, or none.
    static void settle(Worker& worker) {
        if (worker.member < 0) idle_workers().push_back(&worker);
    }

    // A team may stand still only for a counter.
    static void check_barriers(const TeamState& team) {
        const bool counting =
            std::any_of(team.members.begin(), team.members.end(), [](const Member& m) { return m.stage == Stage::counting; });
        if (!counting && team.done < team.team.size) fault("some members of a team wait at a barrier that the others do not come to");
    }

    const RowsLaunch& launch_;
    const RowKernel& kernel_;
    std::uint64_t number_;
    std::int64_t next_ = 0, finished_ = 0;
    std::vector<std::unique_ptr<TeamState>> teams_;
};

Member& current_member() { return current->team->members[static_cast<std::size_t>(current->member)]; }

}  // namespace

Group& team_group(TeamState& team) { return team.team; }
Group& warp_group(TeamState& team, int warp) { return team.warps[static_cast<std::size_t>(warp)]; }
Slot& slot_of(TeamState& team, int member) { return team.slots[static_cast<std::size_t>(member)]; }
unsigned char* shared_memory_of(TeamState& team) { return team.shared_memory; }

bool last_to_meet(Group& group, const void* purpose) {
    if (group.arrived == 0) group.purpose = purpose;
    if (group.purpose != purpose) fault("members of a team meet at different barriers");
    return ++group.arrived == group.size;
}

void wait_for_the_last(Group& group) {
    Member& me = current_member();
    me.stage = Stage::meeting;
    me.group = &group;
    me.meeting = group.meetings;
    current->leave();
}

void end_meeting(Group& group) {
    group.arrived = 0;
    ++group.meetings;
}

void wait_for_counter(const int* counter, int at_least) {
    if (current == nullptr || __atomic_load_n(counter, __ATOMIC_ACQUIRE) >= at_least) return;
    Member& me = current_member();
    me.stage = Stage::counting;
    me.counter = counter;
    me.at_least = at_least;
    current->leave();
}

void run_rows(const RowsLaunch& launch, const RowKernel& kernel) { Scheduler(launch, kernel).run(); }

}  // namespace mlkd::simulated
