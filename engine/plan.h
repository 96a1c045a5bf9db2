#pragma once
// A graph made ready for batches of one size: every tensor has its address, and every gradient its first writer. Built once; a step
// then only calls operations. Memory of a value or a gradient is free again after its last reader, so the block is much smaller than the
// sum of its tensors, and since addresses never change, a CUDA graph may hold them.
//
// Reverse mode: backward() walks the list backwards. The first operation that has something for a gradient overwrites it, later ones
// add. Where an operation leaves an input's gradient in the memory of its own result's (a shortcut), that memory becomes the input's.
//
// Where the backend has a second branch, gradients of parameters that nobody waits for (a convolution's filters) are computed there,
// beside the chain of the inputs' gradients. What they read keeps its memory until both are done.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "engine/graph.h"
#include "engine/memory_plan.h"

namespace mlkd {

enum class PlanFor { training, evaluation };

class Plan {
public:
    // batch: of all views together. stored: the type of activations. The graph's operations must outlive the plan.
    Plan(Backend& backend, const Graph& graph, PlanFor purpose, std::int64_t batch, int views, DType stored);
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    std::size_t bytes() const { return bytes_; }
    // Gives the plan its memory, of at least bytes(), 64-byte aligned.
    void bind(void* memory);

    // images (N, H, W, C): where the batch lies until backward() is done. The second form runs on a branch: the backend or its side().
    void forward(const Tensor& images) { forward(images, backend_); }
    void forward(const Tensor& images, Backend& branch);
    // Gradients of all parameters, from what was written to result_gradient().
    void backward();

    const Tensor& result() const { return result_; }                    // (N, …)
    const Tensor& result_gradient() const { return result_gradient_; }  // like the result; valid after forward(), until backward()

    // The operations one by one, for those who time or watch them: their tensors in forward() and in backward().
    struct Step {
        const Op* op = nullptr;
        OpTensors forward, backward;  // backward: what the operation does not read again is empty
        Tensor dL_dy;                 // empty: no gradient comes here
        std::vector<InputGradient> gradients;
        struct Afterwards {  // to += from, or to = from
            Tensor to, from;
            bool add;
        };
        std::vector<Afterwards> afterwards;
        bool aside = false;  // the parameters' gradients are computed on the second branch
    };
    const std::vector<Step>& steps() const { return steps_; }
    // Is called after each operation, and with nullptr where a pass begins; empty: nobody watches. Not for recordings: who watches waits.
    using Watch = std::function<void(const Step* step, bool backward)>;
    void watch(Watch watch) { watch_ = std::move(watch); }
    void run_forward(const Step& step) { run_forward(step, backend_); }
    void run_backward(const Step& step);

private:
    class Builder;
    void run_forward(const Step& step, Backend& branch);

    Backend& backend_;
    PlanFor purpose_;
    int views_;
    MemoryPlan memory_;
    std::size_t bytes_ = 0;
    std::vector<Step> steps_;
    Tensor result_, result_gradient_;
    Watch watch_;
    struct Binding {
        Tensor* tensor;
        int part;  // of memory_
    };
    std::vector<Binding> bindings_;
    std::vector<Tensor*> images_;  // every place that the images are read from
};

}  // namespace mlkd
