#include "layers/network.h"

#include "engine/error.h"
#include "engine/types.h"

namespace mlkd {

Variable Network::forward(TrainingPass& pass, const Tensor& images) {
    require_precision(images);
    parameters_.begin_step();
    return forward_layers(pass, Variable{images});
}

Tensor Network::evaluate(EvaluationPass& pass, const Tensor& images) const {
    require_precision(images);
    const Tensor logits = pass.arena.allocate(name_ + " logits", computed_type(precision_), {images.dim(0), classes_});
    StepArena::Scope scope(pass.arena);
    evaluate_layers(pass, logits, images);
    return logits;
}

double Network::flop_per_image() const {
    double total = head_flop_;
    for (const ConvolutionSite& site : sites_) total += site.flop_per_image();
    return total;
}

void Network::finish(Backend& backend, Role role, std::vector<ConvolutionSite> sites, double head_flop) {
    backend_ = &backend;
    arena_ = std::make_unique<PersistentArena>(backend);
    sites_ = std::move(sites);
    head_flop_ = head_flop;
    parameters_.allocate(backend, *arena_, role == Role::trained, precision_);
}

void Network::require_precision(const Tensor& images) const {
    if (images.dtype != precision_)
        throw Error("network " + name_ + " computes in " + name_of(precision_) + ", its images are " + name_of(images.dtype));
}

}  // namespace mlkd
