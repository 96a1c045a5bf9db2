// Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, as mdistiller has it, on the weak view:
//     ce_weight · CE + kd_weight · T² · mean_b KL(p_t[b] ‖ p_s[b]),   p = softmax(z / T).
#include "losses/methods.h"
#include "losses/mlkd/level_method.h"

namespace mlkd {
namespace {

class Kd final : public LevelMethod {
public:
    const char* name() const override { return "kd"; }
    const char* other_name() const override { return "KD"; }
    std::unique_ptr<Method> clone() const override { return std::make_unique<Kd>(*this); }
    void settings(SettingVisitor& visitor) override {
        visitor.visit("temperature", temperature_, rules::positive, "T");
        visitor.visit("logit_standardization", standardized_, rules::flag, "of student's and teacher's logits, before the temperature");
        visitor.visit("loss.ce_weight", ce_weight_, rules::weight, "of the cross entropy");
        visitor.visit("loss.kd_weight", kd_weight_, rules::weight, "of T²·KL");
    }
    std::vector<std::string> parts() const override { return {"ce", "instance"}; }
    DistillationConfig levels() const override {
        return {.levels = Levels::instance,
                .temperatures = {static_cast<float>(temperature_)},
                .ce_weight = static_cast<float>(ce_weight_),
                .kd_weight = static_cast<float>(kd_weight_),
                .logit_standardization = standardized_};
    }
    bool teaches() const override { return kd_weight_ > 0; }

private:
    double temperature_ = 4, ce_weight_ = 0.1, kd_weight_ = 0.9;
    bool standardized_ = false;
};

}  // namespace

std::unique_ptr<Method> make_kd() { return std::make_unique<Kd>(); }

}  // namespace mlkd
