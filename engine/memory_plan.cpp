#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace mlkd {

int MemoryPlan::add(std::size_t bytes, int first, int last) {
    constexpr std::size_t alignment = 64;
    parts_.push_back({(bytes + alignment - 1) / alignment * alignment, first, last});
    return static_cast<int>(parts_.size()) - 1;
}

std::size_t MemoryPlan::place() {
    std::vector<Part*> by_size;
    for (Part& part : parts_) by_size.push_back(&part);
    std::ranges::stable_sort(by_size, [](const Part* a, const Part* b) { return a->bytes > b->bytes; });
    std::size_t end = 0;
    std::vector<const Part*> placed;  // by offset
    for (Part* part : by_size) {
        std::size_t offset = 0;
        for (const Part* other : placed) {
            if (other->last < part->first || part->last < other->first) continue;
            if (offset + part->bytes <= other->offset) break;  // the gap before it is wide enough
            offset = std::max(offset, other->offset + other->bytes);
        }
        part->offset = offset;
        placed.insert(std::ranges::upper_bound(placed, offset, {}, &Part::offset), part);
        end = std::max(end, offset + part->bytes);
    }
    return end;
}

}  // namespace mlkd
