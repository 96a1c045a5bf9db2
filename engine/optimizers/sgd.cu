// Stochastic gradient descent with momentum and weight decay, as PyTorch's SGD without dampening:
//     v ← momentum · v + (g + weight_decay · w),   w ← w − lr · v
// or, with Nesterov's look ahead,
//     w ← w − lr · (g + weight_decay · w + momentum · v).
// With v = 0 at the start the first step is PyTorch's (v = g).
#include "engine/error.h"
#include "engine/optimizers/optimizers.h"
#include "engine/optimizers/update_kernel.h"

namespace mlkd {
namespace {

template <class T>
struct SgdRule {
    T* momenta;
    const T* lr;
    T momentum, weight_decay;

    MLKD_HD T operator()(std::int64_t i, T value, T gradient) const {
        const T v = momentum * momenta[i] + (gradient + weight_decay * value);
        momenta[i] = v;
        return value - *lr * v;
    }
};

template <class T>
struct NesterovRule {
    T* momenta;
    const T* lr;
    T momentum, weight_decay;

    MLKD_HD T operator()(std::int64_t i, T value, T gradient) const {
        const T decayed = gradient + weight_decay * value;
        const T v = momentum * momenta[i] + decayed;
        momenta[i] = v;
        return value - *lr * (decayed + momentum * v);
    }
};

class Sgd final : public Optimizer {
public:
    const char* name() const override { return "SGD"; }
    std::unique_ptr<Optimizer> clone() const override { return std::make_unique<Sgd>(*this); }
    void settings(SettingVisitor& visitor) override {
        visitor.visit("weight_decay", weight_decay_, rules::weight, "on all parameters");
        visitor.visit("momentum", momentum_, rules::below_one, "share of the last step's direction that stays");
        visitor.visit("nesterov", nesterov_, rules::flag, "Nesterov's momentum");
    }
    void check() const override {
        if (nesterov_ && momentum_ == 0) throw UsageError("solver.nesterov looks ahead along the momentum, but solver.momentum is 0");
    }
    std::vector<std::string> slots() const override { return {"momentum"}; }
    void update(const Stream& stream, const UpdateTensors& tensors) const override {
        with_real_type(tensors.values.dtype, [&](auto zero) {
            using T = decltype(zero);
            T* const momenta = tensors.slots[0].as<T>();
            const T* const lr = tensors.lr.as<T>();
            const auto momentum = static_cast<T>(momentum_), weight_decay = static_cast<T>(weight_decay_);
            if (nesterov_)
                update_each<T>(stream, tensors, NesterovRule<T>{momenta, lr, momentum, weight_decay});
            else
                update_each<T>(stream, tensors, SgdRule<T>{momenta, lr, momentum, weight_decay});
        });
    }

private:
    double momentum_ = 0.9, weight_decay_ = 5e-4;
    bool nesterov_ = false;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd() { return std::make_unique<Sgd>(); }

}  // namespace mlkd
