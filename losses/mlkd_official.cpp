// Multi-level logit distillation as its released code computes it: masks, and the correlation levels on the weak view only.
// docs/methods.md compares the two.
#include "losses/methods.h"
#include "losses/mlkd/settings.h"

namespace mlkd {
namespace {

class MlkdOfficial final : public MlkdSettings {
public:
    MlkdOfficial() : MlkdSettings(Levels::released) {}
    const char* name() const override { return "mlkd_official"; }
    std::unique_ptr<Method> clone() const override { return std::make_unique<MlkdOfficial>(*this); }
};

}  // namespace

std::unique_ptr<Method> make_mlkd_official() { return std::make_unique<MlkdOfficial>(); }

}  // namespace mlkd
