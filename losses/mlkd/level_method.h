#pragma once
// What the methods made of distillation.h's levels share: each says its configuration and shows its settings.
#include <algorithm>
#include <memory>

#include "losses/method.h"
#include "losses/mlkd/distillation.h"

namespace mlkd {

class LevelMethod : public Method {
public:
    virtual DistillationConfig levels() const = 0;

    void check() const override { validate(levels()); }
    bool has_cross_entropy() const override { return levels().ce_weight > 0; }
    // Products as the loss forms them: two small weights may make 0.
    bool teaches() const override {
        const DistillationConfig config = levels();
        return config.kd_weight * std::max({config.instance_weight, config.batch_weight, config.class_weight}) > 0;
    }
    int views() const override { return view_count(levels().levels); }
    void prepare(Backend& backend, double label_smoothing) override {
        DistillationConfig config = levels();
        config.label_smoothing = static_cast<float>(label_smoothing);
        loss_ = std::make_shared<DistillationLoss>(backend, config);
    }
    void forward_backward(const LossCall& call) override {
        loss_->forward_backward(call.arena, call.losses, call.dL_dlogits, call.student, call.teacher, call.target);
    }
    double product_flop(std::int64_t samples, std::int64_t classes) const override;

private:
    std::shared_ptr<DistillationLoss> loss_;  // tables of the device it was prepared for; copies share them
};

}  // namespace mlkd
