#pragma once
// The trainable parameters and the running statistics of a network, under PyTorch's dotted names.
// All values lie in one block, all gradients in a second and all running statistics in a third: zeroing is one memset, an
// optimizer step one kernel. A network in bfloat16 keeps these blocks in float32, and computes with copies of its filters,
// which lie first in the blocks.
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/files/safetensors.h"
#include "engine/optimizers/optimizer.h"

namespace mlkd {

// How an entry starts. PyTorch's defaults but for convolutions, which the CIFAR networks draw Kaiming-normal by fan-out
// (He et al., ICCV 2015).
enum class Initial { kaiming_normal_fan_out, uniform_fan_in, zero, one };

struct Parameter {
    std::string name;
    Shape shape;  // filters (K, R, S, C), linear weights (O, I), vectors (C)
    Initial initial;
    std::int64_t fan;        // fan-out or fan-in, as `initial` needs it
    // Memory after ParameterStore::allocate().
    Tensor value, gradient;  // as the network computes with them; no gradient in a frozen network
    Tensor master;           // the value that the optimizer moves and files keep: `value`, or the float32 that a bf16 filter is rounded from
};

// Running statistics: saved with the network, not trained.
struct Buffer {
    std::string name;
    Shape shape;
    Initial initial;
    int updates_per_pass;  // see batch_norm.h
    Tensor tensor;
};

class ParameterStore {
public:
    // References stay valid as long as the store.
    Parameter& add_parameter(const std::string& name, const Shape& shape, Initial initial, std::int64_t fan = 0);
    Buffer& add_buffer(const std::string& name, const Shape& shape, Initial initial, int updates_per_pass = 1);

    // Gives every entry its memory; with_training: gradients too (a teacher needs none). Call once, after
    // the last add. precision: f32 or f64, of every block; or bf16, of filters and their gradients, the blocks being f32.
    void allocate(Backend& backend, PersistentArena& arena, bool with_training, DType precision = DType::f32);
    // Draws every entry from Philox(seed): a function of the seed and the entry's place alone.
    void initialise(std::uint64_t seed);

    // Values and gradients (elements) as one vector each, padding included (always zero).
    Tensor values() const { return values_; }
    Tensor gradients() const { return gradients_; }
    // Of a network in bfloat16 the filters that it computes with and their gradients, which the block of gradients then
    // lacks; else empty.
    const RoundedParameters& rounded() const { return rounded_; }
    // Running statistics as one vector.
    Tensor statistics() const { return statistics_; }
    // Counters of the launches whose rows count each other (engine/kernels/arrival.h), i32: zeros, which each launch restores, so that all
    // layers share them.
    Tensor arrivals() const { return arrivals_; }

    std::int64_t trainable_elements() const;
    std::deque<Parameter>& parameters() { return parameters_; }
    const std::deque<Parameter>& parameters() const { return parameters_; }
    const std::deque<Buffer>& buffers() const { return buffers_; }

    // How many training batches have passed: PyTorch's num_batches_tracked of a batch norm with one update a pass.
    std::int64_t batches_tracked = 0;

    // The state under PyTorch's names, shapes (filters O, I, H, W) and order of elements; f32 whatever the precision.
    std::map<std::string, HostTensor> state() const;
    // Sets the state. Accepts entries behind the prefixes module., student., module.student. and without
    // num_batches_tracked; `origin` names the file in the Error about a missing, surplus or misshapen entry.
    void set_state(const std::map<std::string, HostTensor>& state, const std::string& origin);

    // An entry's elements in PyTorch's order, rounded to f32, and back: for gradients and what optimizers remember, too. Values are set by
    // initialise() and set_state().
    std::vector<float> in_pytorch_order(const Tensor& tensor) const;
    void from_pytorch_order(const Tensor& tensor, const std::vector<float>& elements);
    // The part of a whole block (values, gradients, an optimizer's slot) that belongs to a parameter.
    Tensor part_of(const Tensor& block, const Parameter& parameter) const;

private:
    // Gives filters, or everything else, their parts of the blocks from `offset` on; returns where these end.
    std::int64_t place(bool filters, std::int64_t offset, bool with_training);
    void round_filters();

    Backend* backend_ = nullptr;
    std::deque<Parameter> parameters_;
    std::deque<Buffer> buffers_;
    Tensor values_, gradients_, statistics_, arrivals_;
    RoundedParameters rounded_;
};

}  // namespace mlkd
