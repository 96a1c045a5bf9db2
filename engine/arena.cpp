#include "engine/arena.h"

#include <fmt/format.h>

#include "engine/backend.h"
#include "engine/error.h"

namespace mlkd {

BlockList::BlockList(Backend& backend, std::size_t block_bytes) : backend_(backend), block_bytes_(block_bytes) {}

BlockList::~BlockList() {
    for (const Block& block : blocks_) backend_.free(block.data);
}

DeviceKind BlockList::device() const { return backend_.stream().device; }

std::size_t BlockList::reserved_bytes() const {
    std::size_t total = 0;
    for (const Block& block : blocks_) total += block.bytes;
    return total;
}

void* BlockList::take(std::size_t bytes) {
    constexpr std::size_t alignment = 64;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    while (position_.block < blocks_.size() && position_.offset + bytes > blocks_[position_.block].bytes)
        position_ = {position_.block + 1, 0};
    if (position_.block == blocks_.size()) {
        const std::size_t size = bytes > block_bytes_ ? bytes : block_bytes_;
        blocks_.push_back({static_cast<std::byte*>(backend_.allocate(size)), size});
    }
    void* start = blocks_[position_.block].data + position_.offset;
    position_.offset += bytes;
    return start;
}

Tensor PersistentArena::allocate(std::string_view, DType dtype, const Shape& shape) {
    Tensor tensor{nullptr, dtype, blocks_.device(), shape};
    tensor.data = blocks_.take(tensor.bytes());
    return tensor;
}

void StepArena::begin(std::string_view kind) {
    if (current_ != nullptr && !current_->complete) sequences_.erase(kind_);  // a step that failed half-way teaches nothing
    blocks_.rewind({});
    kind_ = kind;
    current_ = &sequences_[kind_];
    next_ = 0;
}

Tensor StepArena::allocate(std::string_view name, DType dtype, const Shape& shape) {
    MLKD_CHECK(current_ != nullptr, "step arena: allocation outside a step");
    Tensor tensor{nullptr, dtype, blocks_.device(), shape};
    if (!current_->complete) {
        current_->allocations.push_back({std::string(name), tensor.bytes()});
    } else {
        const bool beyond = next_ >= current_->allocations.size();
        if (beyond || current_->allocations[next_].name != name || current_->allocations[next_].bytes != tensor.bytes())
            throw Error(fmt::format("step arena: allocation {} of step '{}' is {} with {} bytes, but was {} before", next_, kind_, name,
                                    tensor.bytes(),
                                    beyond ? std::string("not there")
                                           : fmt::format("{} with {} bytes", current_->allocations[next_].name,
                                                         current_->allocations[next_].bytes)));
    }
    ++next_;
    tensor.data = blocks_.take(tensor.bytes());
    return tensor;
}

void StepArena::end() {
    MLKD_CHECK(current_ != nullptr, "step arena: end outside a step");
    if (current_->complete && next_ != current_->allocations.size())
        throw Error(fmt::format("step arena: step '{}' ended after {} allocations, but made {} before", kind_, next_,
                                current_->allocations.size()));
    current_->complete = true;
    current_ = nullptr;
}

}  // namespace mlkd
