#pragma once
// Where tensors lie in one block of memory, so that those which are needed at the same time do not overlap and the block is small.
#include <cstddef>
#include <vector>

namespace mlkd {

class MemoryPlan {
public:
    // Memory of `bytes`, needed from time `first` to time `last`, both included. Returns its number.
    int add(std::size_t bytes, int first, int last);
    // Finds all offsets: the largest first, each at the lowest place that is free all its time (Pisarchyk and Lee, 2020: "greedy by
    // size"). Returns how large the block is.
    std::size_t place();
    std::size_t offset(int number) const { return parts_[static_cast<std::size_t>(number)].offset; }

private:
    struct Part {
        std::size_t bytes;
        int first, last;
        std::size_t offset = 0;
    };
    std::vector<Part> parts_;
};

}  // namespace mlkd
