#pragma once
// An optimizer moves the parameters of a network along their gradients. Each is one file in this folder and a line in
// optimizers.cpp: it has its settings, names what it remembers, and updates all parameters in one launch.
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/kernels/launch.h"
#include "engine/settings/settings.h"
#include "engine/tensor.h"

namespace mlkd {

// Parameters that the network computes with in bfloat16: rounded copies of the first so many of `values`, which are then
// their master copies, and the gradients of these; both (count) bf16. Empty tensors: none.
struct RoundedParameters {
    Tensor values, gradients;
};

// What one update reads and writes.
struct UpdateTensors {
    Tensor values, gradients;       // (elements): f32, or f64
    Tensor lr;                      // (1) of that type, in device memory: a recorded step does not depend on the host
    RoundedParameters rounded;      // their gradients take the place of the first `gradients`; the rounded values follow the new ones
    std::span<const Tensor> slots;  // (elements) each, of the type of values, in the order of slots()
    Tensor numbers;                 // f64 (as many as numbers())
};

class Optimizer : public Part {
public:
    virtual std::unique_ptr<Optimizer> clone() const = 0;
    // Throws UsageError where settings contradict each other.
    virtual void check() const {}
    // What it remembers of each parameter, by name: a block as large as all parameters, zero at the start.
    virtual std::vector<std::string> slots() const = 0;
    // What it remembers once, by name: numbers in device memory, zero at the start.
    virtual std::vector<std::string> numbers() const { return {}; }
    virtual void update(const Stream& stream, const UpdateTensors& tensors) const = 0;
};

// An optimizer with its memory.
class OptimizerState {
public:
    // values: the block of all parameters.
    OptimizerState(Backend& backend, PersistentArena& memory, const Optimizer& optimizer, const Tensor& values);

    // Throws Error where shapes differ.
    void update(const Tensor& values, const Tensor& gradients, const Tensor& lr, const RoundedParameters& rounded = {});

    struct Named {
        std::string name;
        Tensor tensor;
    };
    const std::string& name() const { return name_; }
    std::vector<Named> slots() const;    // (elements) each
    std::vector<Named> numbers() const;  // (1) f64 each
    double read(const Tensor& number) const;
    void write(const Tensor& number, double value) const;

private:
    Backend& backend_;
    std::unique_ptr<Optimizer> optimizer_;
    std::string name_;
    std::vector<Tensor> slots_;
    Tensor numbers_;
};

}  // namespace mlkd
