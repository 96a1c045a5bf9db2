#pragma once
// A network as a list of operations, in the order of the code that builds it. Reverse-mode differentiation is that list walked backwards
// (engine/plan.h). The list knows shapes per image; a batch, addresses and the order of memory are a Plan's.
//
// An operation is one class, in one file (layers/ops). It says what it makes of shapes, which memory it wants beside its result, and what
// its backward pass reads; it never asks who its neighbours are.
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/tensor.h"

namespace mlkd {

class PersistentArena;

// One value of the graph: the images, or the result of an operation.
struct Value {
    int index = -1;
    bool exists() const { return index >= 0; }
};

struct TensorSpec {
    DType dtype;
    Shape shape;
};

// What an operation wants beside its inputs and its result, for one batch.
struct OpMemory {
    std::vector<TensorSpec> kept;              // from forward to backward
    std::vector<TensorSpec> forward_scratch;   // during forward (and evaluate)
    std::vector<TensorSpec> backward_scratch;  // during backward
};

// The tensors of one call, at the addresses that the plan gave them. Inputs and result have the batch as their first axis.
struct OpTensors {
    std::vector<Tensor> x;
    Tensor y;
    std::vector<Tensor> kept, scratch;
};

// Where an operation writes dL/dx of one input: += if add, else what was there is not read. Empty: nobody asks for it.
struct InputGradient {
    Tensor dL_dx;
    bool add = false;
};

struct OpRun {
    Backend& backend;
    int views = 1;  // the batch is this many views of equal size, one behind the other
};

class Op {
public:
    virtual ~Op() = default;

    virtual std::string name() const = 0;  // of this one in its network: "layer1.0.conv1"
    virtual std::string kind() const = 0;  // "conv 3x3 /2"

    // The result's shape per image; throws Error where the inputs' shapes do not fit.
    virtual Shape output(const std::vector<Shape>& x) const = 0;
    // The result's type where activations are stored in `stored`.
    virtual DType type(DType stored) const { return stored; }
    // Shapes and types are in `tensors`, which has no memory yet.
    virtual OpMemory memory(const OpTensors& tensors, int views) const { return (void)tensors, (void)views, OpMemory{}; }

    virtual void forward(OpRun& run, const OpTensors& t) const = 0;
    // In evaluation mode. Nothing is kept for backward().
    virtual void evaluate(OpRun& run, const OpTensors& t) const { forward(run, t); }

    // The parameters' gradients, which are overwritten, and the inputs'. They are two calls, the parameters' first: nothing but the
    // optimizer waits for those. An operation that finds both at once does so in backward_inputs().
    virtual void backward_parameters(OpRun& run, const OpTensors& t, const Tensor& dL_dy) const { (void)run, (void)t, (void)dL_dy; }
    virtual void backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const = 0;
    // backward_parameters() finds all of the parameters' gradients, from the inputs and dL_dy alone: it may run beside what follows.
    virtual bool parameters_apart() const { return false; }

    // What the backward pass reads again.
    virtual bool backward_reads_inputs() const { return true; }
    virtual bool backward_reads_result() const { return false; }
    // backward_inputs() can add to dL/dx of this input by itself.
    virtual bool adds_gradient(int input) const { return (void)input, false; }
    // After backward_inputs() the memory of dL_dy holds dL/dx of this input, which is not written anywhere else.
    virtual bool passes_gradient(int input) const { return (void)input, false; }
    // backward_inputs() changes dL_dy.
    virtual bool changes_gradient() const { return false; }
    // The result may lie in the memory of this input, if nobody reads that afterwards; -1: of none.
    virtual int in_place() const { return -1; }

    // An operation that does, in evaluation mode, what `producer` does and then this one, whose input number `input` is the producer's
    // result. Its inputs are the producer's and then this one's others. nullptr: there is none.
    virtual std::shared_ptr<Op> folded(const std::shared_ptr<Op>& producer, int input) const { return (void)producer, (void)input, nullptr; }
    // For what folded() made: takes over parameters and running statistics as they are now. Memory comes from the arena the first time.
    virtual void take_parameters(Backend& backend, PersistentArena& arena) { (void)backend, (void)arena; }

    virtual std::int64_t parameter_elements() const { return 0; }  // that training changes
    // Forward, an image: 2 for each multiply-add of convolutions and matrix products, nothing for all else.
    virtual double flop(const std::vector<Shape>& x) const { return (void)x, 0.0; }
};

class Graph {
public:
    // images: per image, (H, W, C)
    explicit Graph(const Shape& images) : shapes_{images} {}

    Value images() const { return {0}; }
    // Appends an operation.
    Value add(std::shared_ptr<Op> op, const std::vector<Value>& inputs);
    // Of the whole graph: the last operation's.
    Value result() const { return {static_cast<int>(nodes_.size())}; }
    const Shape& shape(Value value) const { return shapes_[static_cast<std::size_t>(value.index)]; }  // per image

    // Node i makes value i + 1; value 0 are the images.
    struct Node {
        std::shared_ptr<Op> op;
        std::vector<Value> inputs;
    };
    const std::vector<Node>& nodes() const { return nodes_; }
    std::vector<Shape> input_shapes(const Node& node) const;  // per image
    double flop_per_image() const;

    // For evaluation mode: operations that stand behind each other and have one reader are one, where an operation knows how. The
    // operations that stay are shared with this graph.
    Graph folded() const;

private:
    std::vector<Node> nodes_;
    std::vector<Shape> shapes_;  // of all values
};

}  // namespace mlkd
