#pragma once
// Memory that plans share which never run at the same time: batches of other sizes, training and evaluation of one network.
#include <cstddef>
#include <vector>

#include "engine/backend.h"

namespace mlkd {

class PlanMemory {
public:
    explicit PlanMemory(Backend& backend) : backend_(backend) {}
    ~PlanMemory() {
        for (const Block& block : blocks_) backend_.free(block.data);
    }
    PlanMemory(const PlanMemory&) = delete;
    PlanMemory& operator=(const PlanMemory&) = delete;

    // A block of at least so many bytes: one that is there, or a new one. The others stay, since a captured graph may hold them.
    void* block(std::size_t bytes) {
        const Block* smallest = nullptr;
        for (const Block& block : blocks_)
            if (block.bytes >= bytes && (smallest == nullptr || block.bytes < smallest->bytes)) smallest = &block;
        if (smallest == nullptr) {
            blocks_.push_back({backend_.allocate(bytes), bytes});
            smallest = &blocks_.back();
        }
        return smallest->data;
    }
    std::size_t bytes() const {
        std::size_t total = 0;
        for (const Block& block : blocks_) total += block.bytes;
        return total;
    }

private:
    struct Block {
        void* data;
        std::size_t bytes;
    };
    Backend& backend_;
    std::vector<Block> blocks_;
};

}  // namespace mlkd
