#pragma once
// A classifier of 32×32 colour images: what training, distillation and evaluation see of a network.
#include <memory>
#include <string>
#include <vector>

#include "layers/ops/conv2d.h"
#include "layers/parameters.h"
#include "layers/pass.h"

namespace mlkd {

enum class Role { trained, frozen };  // frozen: no gradients

class Network {
public:
    virtual ~Network() = default;

    // Logits (N, classes) of images (N, 32, 32, 3), recorded on the tape. Updates the running statistics; the caller counts the
    // batch in parameters().batches_tracked. Images are of the network's precision, logits likewise, but f32 from a network in
    // bfloat16.
    Variable forward(TrainingPass& pass, const Tensor& images);
    // Logits in evaluation mode, with the batch norms as of the last fold(). The result lies in the step arena.
    Tensor evaluate(EvaluationPass& pass, const Tensor& images) const;
    // Takes over parameters and running statistics for evaluate().
    virtual void fold() = 0;

    ParameterStore& parameters() { return parameters_; }
    const ParameterStore& parameters() const { return parameters_; }
    const std::string& name() const { return name_; }
    int classes() const { return classes_; }
    DType precision() const { return precision_; }
    const std::vector<ConvolutionSite>& convolutions() const { return sites_; }
    double flop_per_image() const;  // forward: convolutions and the linear layer, 2 per multiply-add

protected:
    Network(std::string name, int classes, DType precision) : name_(std::move(name)), classes_(classes), precision_(precision) {}

    virtual Variable forward_layers(TrainingPass& pass, const Variable& images) = 0;
    virtual void evaluate_layers(EvaluationPass& pass, const Tensor& logits, const Tensor& images) const = 0;
    // Call at the end of a constructor.
    void finish(Backend& backend, Role role, std::vector<ConvolutionSite> sites, double head_flop);

    ParameterStore parameters_;
    Backend* backend_ = nullptr;
    std::unique_ptr<PersistentArena> arena_;

private:
    std::string name_;
    int classes_;
    DType precision_;
    std::vector<ConvolutionSite> sites_;
    double head_flop_ = 0;

    void require_precision(const Tensor& images) const;
};

// The names that make_network knows, smallest first within a family.
const std::vector<std::string>& network_names();
// What to say after "unknown model NAME": the known one that is spelt nearly so, and all there are.
std::string model_advice(const std::string& name);

// Throws UsageError for an unknown name, with model_advice(). Parameters are unset: initialise() or set_state() them.
// precision: the type of parameters, gradients, running statistics and activations. f64 is the reference precision: the same
// program without roundings that matter, several times slower. bf16 is the type of activations and filters, and of the
// gradients of both; master copies of the filters and all else are f32.
std::unique_ptr<Network> make_network(Backend& backend, const std::string& name, int classes, Role role, DType precision = DType::f32);

}  // namespace mlkd
