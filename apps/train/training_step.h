#pragma once
// One training step: student forward over all views, teacher forward, loss and its gradient, backward, update. Nothing in
// it waits for the host or reads from it; losses and counts stay on the device until somebody asks. The loss is computed in
// f32 whatever the precision of the networks.
#include <string>

#include "engine/optimizers/optimizer.h"
#include "layers/network.h"
#include "losses/meters/accuracy.h"
#include "losses/method.h"

namespace mlkd {

class TrainingStep {
public:
    // teacher: nullptr for a method without one; of the student's precision; its fold() must have been called. The step arena is
    // shared with others.
    TrainingStep(Backend& backend, StepArena& arena, Network& student, Network* teacher, const Method& method,
                 const Optimizer& optimizer, double label_smoothing = 0);

    void set_learning_rate(double lr);
    // What the method changes by epoch, counted from 1. Before the first call it is epoch 1.
    void set_epoch(int epoch) { loss_.set_epoch(epoch); }

    // images (V·B, H, W, C) of the student's precision, weak view first; target (B) i32; both in device memory.
    void run(const Tensor& images, const Tensor& target);
    // What run() enqueues, which may be recorded and replayed; and what it does on the host, once for each step that ran.
    // meter: adds up the step's losses, if there is one.
    void enqueue(const Tensor& images, const Tensor& target, const LossMeter* meter = nullptr);
    void count_step();
    // run() without the update of the parameters.
    void run_without_update(const Tensor& images, const Tensor& target);

    // Of the last step: the method's parts and their total (parts()), on the device.
    const Tensor& losses() const { return losses_; }
    // Since they were zeroed: correct top-1 and top-5 and summed cross entropy of the weak view (3) f64, see AccuracyCounter.
    const Tensor& counters() const { return counters_; }
    // Of the last step: the student's logits (V·B, classes), see Network::forward; valid until the network's next pass.
    const Tensor& logits() const { return logits_; }

    // What the optimizer remembers.
    const OptimizerState& optimizer() const { return optimizer_; }

    int views() const { return loss_.method().views(); }
    std::vector<std::string> parts() const { return loss_.parts(); }

private:
    void enqueue_without_update(const Tensor& images, const Tensor& target, const LossMeter* meter);
    void forward_backward(const Tensor& images, const Tensor& target, const LossMeter* meter);
    Tensor in_f32(const std::string& name, const Tensor& logits);  // a copy in the step arena, or the tensor itself

    Backend& backend_;
    StepArena& arena_;
    Network& student_;
    Network* teacher_;
    Loss loss_;
    PersistentArena memory_;
    OptimizerState optimizer_;
    Tensor lr_;        // (1) of the type of the student's master values
    Tensor losses_;    // (parts())
    Tensor counters_;  // (3)
    Tensor logits_;
};

}  // namespace mlkd
