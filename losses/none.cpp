// No distillation: cross entropy alone.
#include "losses/cross_entropy.h"
#include "losses/methods.h"
#include "losses/mlkd/level_method.h"

namespace mlkd {
namespace {

class None final : public LevelMethod {
public:
    const char* name() const override { return "none"; }
    const char* other_name() const override { return "NONE"; }
    std::unique_ptr<Method> clone() const override { return std::make_unique<None>(*this); }
    void settings(SettingVisitor&) override {}
    bool has_teacher() const override { return false; }
    bool teaches() const override { return false; }
    std::vector<std::string> parts() const override { return {"ce"}; }
    DistillationConfig levels() const override { return {}; }
    // A deep network would multiply float32's roundings.
    void gradient_in_f64(const LossCall& call) override {
        const Tensor row_loss = call.arena.allocate("cross entropy f64", DType::f64, {call.samples()});
        cross_entropy(call.stream(), row_loss, call.dL_dlogits, call.student, call.target, 1.0 / static_cast<double>(call.samples()),
                      call.label_smoothing);
    }
};

}  // namespace

std::unique_ptr<Method> make_none() { return std::make_unique<None>(); }

}  // namespace mlkd
