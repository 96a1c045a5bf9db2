// Multi-level logit distillation as the paper defines it (Jin, Wang, Lin, CVPR 2023): the three levels of mlkd/distillation.h on
// both views, at all temperatures.
#include "losses/methods.h"
#include "losses/mlkd/settings.h"

namespace mlkd {
namespace {

class Mlkd final : public MlkdSettings {
public:
    Mlkd() : MlkdSettings(Levels::paper) {}
    const char* name() const override { return "mlkd"; }
    std::unique_ptr<Method> clone() const override { return std::make_unique<Mlkd>(*this); }
};

}  // namespace

std::unique_ptr<Method> make_mlkd() { return std::make_unique<Mlkd>(); }

}  // namespace mlkd
