#include "layers/network.h"

#include <utility>

#include "engine/error.h"

namespace mlkd {

Network::Network(Backend& backend, std::string name, const NetworkOptions& options, const std::function<void(Builder&)>& build)
    : name_(std::move(name)), options_(options), backend_(backend), arena_(backend), graph_(options.image), folded_(options.image), memory_(backend) {
    Builder builder{graph_, parameters_, options.classes};
    build(builder);
    MLKD_CHECK(graph_.shape(graph_.result()) == Shape{options.classes}, "network " + name_ + ": its last operation gives no logits");
    folded_ = graph_.folded();
    parameters_.allocate(backend, arena_, options.role == Role::trained, options.precision);
}

Tensor Network::forward(const Tensor& images, int views) {
    if (options_.role == Role::frozen) throw Error("network " + name_ + " is frozen: it has no gradients");
    training_ = &plan(PlanFor::training, images, views);
    training_->forward(images);
    return training_->result();
}

Tensor Network::logits_gradient() const {
    MLKD_CHECK(training_ != nullptr, "network: forward() comes before its gradient");
    return training_->result_gradient();
}

void Network::backward() {
    MLKD_CHECK(training_ != nullptr, "network: forward() comes before backward()");
    std::exchange(training_, nullptr)->backward();
}

Tensor Network::evaluate(const Tensor& images, Backend& branch) {
    training_ = nullptr;  // its memory is used anew
    Plan& evaluation = plan(PlanFor::evaluation, images, 1);
    evaluation.forward(images, branch);
    return evaluation.result();
}

void Network::fold() {
    for (const Graph::Node& node : folded_.nodes()) node.op->take_parameters(backend_, arena_);
}

void Network::watch(const Plan::Watch& watch) {
    watch_ = watch;
    for (const auto& [kind, plan] : plans_) plan->watch(watch);
}

Plan& Network::plan(PlanFor purpose, const Tensor& images, int views) {
    if (images.dtype != options_.precision)
        throw Error("network " + name_ + " computes in " + name_of(options_.precision) + ", its images are " + name_of(images.dtype));
    std::unique_ptr<Plan>& plan = plans_[{purpose, images.dim(0), views}];
    if (plan == nullptr) {
        const Graph& graph = purpose == PlanFor::training ? graph_ : folded_;
        auto made = std::make_unique<Plan>(backend_, graph, purpose, images.dim(0), views, options_.precision);
        made->bind(memory_.block(made->bytes()));
        made->watch(watch_);
        plan = std::move(made);
    }
    return *plan;
}

}  // namespace mlkd
