#pragma once
// The settings of mlkd and mlkd_official, which share the section mlkd.
#include "losses/mlkd/level_method.h"

namespace mlkd {

class MlkdSettings : public LevelMethod {
public:
    explicit MlkdSettings(Levels levels) : levels_(levels) {}
    const char* section() const override { return "mlkd"; }
    void settings(SettingVisitor& visitor) override;
    std::vector<std::string> parts() const override { return {"ce", "instance", "batch", "class"}; }
    DistillationConfig levels() const override;

private:
    Levels levels_;
    std::vector<double> temperatures_ = {4, 3, 5, 2, 6};
    std::string divergence_ = "frobenius";
    bool standardized_ = false;
    double ce_weight_ = 0.1, kd_weight_ = 0.9, instance_weight_ = 1, batch_weight_ = 1, class_weight_ = 1;
};

}  // namespace mlkd
