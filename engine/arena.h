#pragma once
// Memory comes from arenas: the persistent one for what lives as long as a network, the step one for what lives one
// step. Every allocation has a name. A bump pointer makes addresses a function of the sequence of allocations, and the
// step arena insists that a step of one kind repeats its sequence: so addresses never change between steps, which is
// what lets a GPU graph replay them.
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace mlkd {

class Backend;

// A growing list of blocks from a backend's allocator, handed out front to back; every address is 64-byte aligned.
class BlockList {
public:
    BlockList(Backend& backend, std::size_t block_bytes);
    ~BlockList();
    BlockList(const BlockList&) = delete;
    BlockList& operator=(const BlockList&) = delete;

    struct Position {
        std::size_t block = 0, offset = 0;
    };
    void* take(std::size_t bytes);
    Position position() const { return position_; }
    void rewind(Position position) { position_ = position; }
    std::size_t reserved_bytes() const;
    DeviceKind device() const;

private:
    struct Block {
        std::byte* data;
        std::size_t bytes;
    };
    Backend& backend_;
    std::size_t block_bytes_;
    std::vector<Block> blocks_;
    Position position_;
};

// Parameters, gradients, momentum, running statistics: allocated once, freed with the arena.
class PersistentArena {
public:
    explicit PersistentArena(Backend& backend, std::size_t block_bytes = std::size_t{1} << 20) : blocks_(backend, block_bytes) {}
    // Zeroed memory.
    Tensor allocate(std::string_view name, DType dtype, const Shape& shape);
    std::size_t reserved_bytes() const { return blocks_.reserved_bytes(); }

private:
    BlockList blocks_;
};

// Activations and their gradients. begin("train/64") starts a step of that kind: the first such step records its
// sequence of (name, bytes), and every later one throws where it differs.
class StepArena {
public:
    explicit StepArena(Backend& backend, std::size_t block_bytes = std::size_t{64} << 20) : blocks_(backend, block_bytes) {}

    void begin(std::string_view kind);
    // Uninitialised memory that is valid until the next begin(), or until the Scope around it ends.
    Tensor allocate(std::string_view name, DType dtype, const Shape& shape);
    // Ends the step: throws when it allocated less than the first one of its kind.
    void end();
    std::size_t reserved_bytes() const { return blocks_.reserved_bytes(); }

    // Memory taken while a Scope lives is free again when it ends: intermediates of a pass without a tape.
    class Scope {
    public:
        explicit Scope(StepArena& arena) : arena_(arena), start_(arena.blocks_.position()) {}
        ~Scope() { arena_.blocks_.rewind(start_); }
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

    private:
        StepArena& arena_;
        BlockList::Position start_;
    };

private:
    struct Allocation {
        std::string name;
        std::size_t bytes;
    };
    struct Sequence {
        std::vector<Allocation> allocations;
        bool complete = false;
    };
    BlockList blocks_;
    std::map<std::string, Sequence, std::less<>> sequences_;
    Sequence* current_ = nullptr;
    std::string kind_;
    std::size_t next_ = 0;
};

}  // namespace mlkd
