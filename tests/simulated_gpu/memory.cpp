#include "tests/simulated_gpu/memory.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "tests/simulated_gpu/device.h"

namespace mlkd::simulated {
namespace {

constexpr std::size_t page_size = 4096, huge_page = std::size_t{2} << 20, alignment = 256;
constexpr std::size_t range_bytes = std::size_t{16} << 40;  // of addresses
constexpr std::size_t device_bytes = 85029158912;           // of memory, as an H100 has
constexpr int unwritten = 0xff;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

void must_succeed(bool success, const char* what) {
    if (!success) fault(std::string(what) + " fails: " + std::strerror(errno));
}

struct State {
    std::byte* range = nullptr;
    std::size_t handed_out = page_size;  // of the range
    std::size_t live_bytes = 0;
    std::map<std::byte*, Allocation> allocations;  // by their first page, freed ones too
    std::vector<Allocation*> open;
    std::vector<std::pair<const std::byte*, const char*>> guard_pages;
    std::string running;
    struct sigaction previous {};

    State() {
        void* const start = mmap(nullptr, range_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        must_succeed(start != MAP_FAILED, "mmap");
        range = static_cast<std::byte*>(start);
        std::array<void*, 1> frame{};
        backtrace(frame.data(), 1);  // loads what it needs now, and not in a handler of signals
    }
};

// Never destroyed: other objects free device memory when the program ends.
State& state() {
    static State* const instance = new State;
    return *instance;
}

Allocation* find(const void* address) {
    State& s = state();
    const auto* const at = static_cast<const std::byte*>(address);
    auto after = s.allocations.upper_bound(const_cast<std::byte*>(at));
    if (after == s.allocations.begin()) return nullptr;
    Allocation& candidate = std::prev(after)->second;
    return at >= candidate.pages && at <= candidate.pages + candidate.page_bytes ? &candidate : nullptr;
}

void check_margins(const Allocation& a) {
    const auto intact = [](const std::byte* from, const std::byte* to) {
        return std::all_of(from, to, [](std::byte b) { return b == std::byte{unwritten}; });
    };
    const std::byte* const margin = std::max(a.pages, a.begin - alignment);
    if (!intact(margin, a.begin) || !intact(a.end(), a.pages + a.page_bytes))
        fault("bytes next to an allocation of " + std::to_string(a.bytes) + " were written");
}

std::string describe(const void* address) {
    const Allocation* const a = find(address);
    if (a == nullptr) return "in no allocation";
    const auto offset = static_cast<const std::byte*>(address) - a->begin;
    return (a->live ? "byte " : "freed: byte ") + std::to_string(offset) + " of an allocation of " + std::to_string(a->bytes);
}

void on_access(int, siginfo_t* info, void*) {
    State& s = state();
    const auto* const address = static_cast<const std::byte*>(info->si_addr);
    std::array<char, 32> number{};
    std::snprintf(number.data(), number.size(), "%p", info->si_addr);
    if (in_device_range(address)) {
        const Allocation* const a = find(address);
        if (s.running.empty()) fault("the host touches device memory at " + std::string(number.data()) + ", " + describe(address));
        const bool stranger = a != nullptr && a->live && address >= a->begin && address < a->end();
        fault("access to " + std::string(number.data()) + ", " + describe(address) +
              (stranger ? ", which is not among the arguments" : ""));
    }
    for (const auto& [page, what] : s.guard_pages)
        if (address >= page && address < page + page_size) fault("access behind the end of " + std::string(what));
    sigaction(SIGSEGV, &s.previous, nullptr);  // none of ours: the access is repeated and comes to whoever handled it before
}

}  // namespace

std::string plain_name(const std::string& name) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> plain(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free);
    return plain != nullptr ? plain.get() : name;
}

void fault(const std::string& message) {
    static std::atomic<bool> under_way = false;  // a second fault, in this one
    if (under_way.exchange(true)) _exit(EXIT_FAILURE);
    std::string line = "simulated GPU: " + message;
    if (!state().running.empty()) line += " (while the device runs " + plain_name(state().running) + ")";
    std::fprintf(stderr, "%s\n", line.c_str());
    std::array<void*, 32> frames{};
    const int count = backtrace(frames.data(), static_cast<int>(frames.size()));
    backtrace_symbols_fd(frames.data(), count, STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);
    std::abort();
}

void watch_accesses() {
    struct sigaction now {};
    sigaction(SIGSEGV, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == on_access) return;
    state().previous = now;
    // A stack of its own: a member of a team that runs over the end of its stack has none left for the handler.
    static std::byte* const stack = new std::byte[256 << 10];
    stack_t alternative{};
    alternative.ss_sp = stack;
    alternative.ss_size = 256 << 10;
    sigaltstack(&alternative, nullptr);
    struct sigaction ours {};
    ours.sa_sigaction = on_access;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&ours.sa_mask);
    sigaction(SIGSEGV, &ours, nullptr);
}

void* allocate(std::size_t bytes) {
    State& s = state();
    watch_accesses();
    if (bytes > device_bytes - s.live_bytes) return nullptr;
    Allocation a{};
    a.bytes = bytes;
    a.live = true;
    a.page_bytes = round_up(bytes, page_size);
    const std::size_t start = bytes >= 2 * huge_page ? round_up(s.handed_out, huge_page) : s.handed_out;
    if (start + a.page_bytes + page_size > range_bytes) fault("the range of addresses is used up");
    a.pages = s.range + start;
    a.begin = a.pages + a.page_bytes - round_up(bytes, alignment);
    s.handed_out = start + a.page_bytes + page_size;
    if (bytes >= 2 * huge_page) madvise(a.pages, a.page_bytes, MADV_HUGEPAGE);  // changing the protection is quicker then
    must_succeed(mprotect(a.pages, a.page_bytes, PROT_READ | PROT_WRITE) == 0, "mprotect");
    std::memset(a.pages, unwritten, a.page_bytes);
    must_succeed(mprotect(a.pages, a.page_bytes, PROT_NONE) == 0, "mprotect");
    s.live_bytes += bytes;
    s.allocations.emplace(a.pages, a);
    return a.begin;
}

bool release(void* address) {
    State& s = state();
    Allocation* const a = find(address);
    if (a == nullptr || !a->live || a->begin != address) return false;
    a->live = false;
    s.live_bytes -= a->bytes;
    const void* const again = mmap(a->pages, a->page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    must_succeed(again == a->pages, "mmap");
    return true;
}

bool in_device_range(const void* address) {
    const auto* const at = static_cast<const std::byte*>(address);
    return at >= state().range && at < state().range + range_bytes;
}

const Allocation* allocation_of(const void* address) {
    const Allocation* const a = find(address);
    return a != nullptr && address >= a->begin && address <= a->end() ? a : nullptr;
}

bool is_device_memory(const void* address, std::size_t bytes) {
    const Allocation* const a = allocation_of(address);
    return a != nullptr && a->live && bytes <= static_cast<std::size_t>(a->end() - static_cast<const std::byte*>(address));
}

void open_for_work(const std::vector<const void*>& uses, const std::string& what) {
    for (const void* const use : uses) {
        Allocation* const a = use == nullptr ? nullptr : find(use);
        if (a == nullptr || a->open) continue;
        if (!a->live) fault(plain_name(what) + " uses memory that was freed");
        must_succeed(mprotect(a->pages, a->page_bytes, PROT_READ | PROT_WRITE) == 0, "mprotect");
        a->open = true;
        state().open.push_back(a);
    }
}

void close_all() {
    watch_accesses();
    for (Allocation* const a : state().open) {
        check_margins(*a);
        must_succeed(mprotect(a->pages, a->page_bytes, PROT_NONE) == 0, "mprotect");
        a->open = false;
    }
    state().open.clear();
}

void set_running(const std::string& what) { state().running = what; }

void note_guard_page(const void* page, const char* what) { state().guard_pages.emplace_back(static_cast<const std::byte*>(page), what); }

}  // namespace mlkd::simulated
