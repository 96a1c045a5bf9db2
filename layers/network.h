#pragma once
// A classifier of images: what training, distillation and evaluation see of a network.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "engine/arena.h"
#include "engine/plan.h"
#include "engine/plan_memory.h"
#include "layers/builder.h"

namespace mlkd {

enum class Role { trained, frozen };  // frozen: no gradients

// What a network is made for.
struct NetworkOptions {
    int classes = 100;
    Role role = Role::trained;
    // The type of parameters, gradients, running statistics and activations. f64 is the reference precision: the same program without
    // roundings that matter, several times slower. bf16 is the type of activations and filters, and of the gradients of both; master
    // copies of the filters and all else are f32.
    DType precision = DType::f32;
    Shape image{32, 32, 3};  // (H, W, C)
};

class Network {
public:
    // build: appends the operations, the logits (classes) last.
    Network(Backend& backend, std::string name, const NetworkOptions& options, const std::function<void(Builder&)>& build);

    // Logits (N, classes) of images (N, H, W, C), `views` parts of equal size, one behind the other, each with batch norm statistics of its
    // own. Updates the running statistics; the caller counts the batch in parameters().batches_tracked. Images are of the network's
    // precision and stay as they are until backward(); logits likewise, but f32 from a network in bfloat16. Valid until the next pass.
    Tensor forward(const Tensor& images, int views = 1);
    // Where dL/dlogits of the last forward() is to be written: (N, classes), like the logits.
    Tensor logits_gradient() const;
    // The gradients of all parameters from that, once after a forward(). Throws Error where the network is frozen.
    void backward();

    // Logits in evaluation mode, with parameters and running statistics as of the last fold(). Valid until the next pass.
    // On a branch: the backend or its side().
    Tensor evaluate(const Tensor& images) { return evaluate(images, backend_); }
    Tensor evaluate(const Tensor& images, Backend& branch);
    void fold();

    // Watches the operations of every pass, see Plan::watch(); an empty function ends it.
    void watch(const Plan::Watch& watch);

    ParameterStore& parameters() { return parameters_; }
    const ParameterStore& parameters() const { return parameters_; }
    const std::string& name() const { return name_; }
    int classes() const { return options_.classes; }
    DType precision() const { return options_.precision; }
    const Shape& image() const { return options_.image; }  // (H, W, C)
    const Graph& graph() const { return graph_; }
    const Graph& evaluation_graph() const { return folded_; }
    double flop_per_image() const { return graph_.flop_per_image(); }  // forward: convolutions and linear layers, 2 per multiply-add
    std::size_t activation_bytes() const { return memory_.bytes(); }   // held for passes of all sizes so far

private:
    Plan& plan(PlanFor purpose, const Tensor& images, int views);

    std::string name_;
    NetworkOptions options_;
    Backend& backend_;
    PersistentArena arena_;
    ParameterStore parameters_;
    Graph graph_, folded_;
    PlanMemory memory_;  // one block serves all plans: one pass at a time
    std::map<std::tuple<PlanFor, std::int64_t, int>, std::unique_ptr<Plan>> plans_;
    Plan* training_ = nullptr;  // of the last forward()
    Plan::Watch watch_;
};

// The names that make_network knows, smallest first within a family.
const std::vector<std::string>& network_names();
// What to say after "unknown model NAME": the known one that is spelt nearly so, and all there are.
std::string model_advice(const std::string& name);

// Throws UsageError for an unknown name, with model_advice(). Parameters are unset: initialise() or set_state() them.
std::unique_ptr<Network> make_network(Backend& backend, const std::string& name, const NetworkOptions& options);

}  // namespace mlkd
