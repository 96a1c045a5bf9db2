#pragma once
// The simulated device's memory. Its addresses lie in a range of their own and are handed out once: an address that was freed stays
// inaccessible for good. Pages are accessible only while work runs (open_for_work), so that a host that follows a device pointer
// faults; the fault says which allocation it was and who touched it.
#include <cstddef>
#include <string>
#include <vector>

namespace mlkd::simulated {

struct Allocation {
    std::byte* begin;  // 256-byte aligned, as cudaMalloc's; the end is as near to the end of its pages as that allows
    std::size_t bytes;
    std::byte* pages;  // whole pages around it; the pages next to them belong to nobody
    std::size_t page_bytes;
    bool live, open;

    std::byte* end() const { return begin + bytes; }
};

// Filled with 0xff bytes, which are NaNs. nullptr where none is left.
void* allocate(std::size_t bytes);
// False unless `address` is what allocate() gave, and not freed yet.
bool release(void* address);

bool in_device_range(const void* address);
// The allocation, live or freed, that has the address inside or just behind its end; nullptr where there is none.
const Allocation* allocation_of(const void* address);

// Makes the allocations of these addresses accessible; fault where one is not live.
void open_for_work(const std::vector<const void*>& uses, const std::string& what);
// Makes everything inaccessible again; fault where bytes around an open allocation were written.
void close_all();

// A type's name as a program says it, from typeid().name(); other names as they are.
std::string plain_name(const std::string& name);

// Names the work that runs, for faults; "" after it.
void set_running(const std::string& what);

// A page that belongs to nobody, behind `what` ("the shared memory of a block"): an access to it is a fault that says so.
void note_guard_page(const void* page, const char* what);

// Sees to it that faults of access come to this file's handler first, whoever else handles signals.
void watch_accesses();

}  // namespace mlkd::simulated
