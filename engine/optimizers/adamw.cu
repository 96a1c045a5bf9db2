// AdamW (Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019), as PyTorch's. In step t = 1, 2, …
//     m ← beta1 · m + (1 − beta1) · g,   v ← beta2 · v + (1 − beta2) · g²
//     w ← (1 − lr · weight_decay) · w − lr · m / (1 − beta1ᵗ) / (√(v / (1 − beta2ᵗ)) + epsilon).
// The step is counted in device memory: a recorded step is the same launch each time.
#include <cmath>

#include "engine/optimizers/optimizers.h"
#include "engine/optimizers/update_kernel.h"

namespace mlkd {
namespace {

// numbers: the step, and the factors 1 / (1 − beta1ᵗ) and 1 / √(1 − beta2ᵗ) of this step. In double: 1 − beta2ᵗ is small at first.
struct CountStep {
    double* numbers;
    double beta1, beta2;

    MLKD_HD void operator()(std::int64_t) const {
        const double step = numbers[0] + 1;
        numbers[0] = step;
        numbers[1] = 1.0 / (1.0 - pow(beta1, step));
        numbers[2] = 1.0 / sqrt(1.0 - pow(beta2, step));
    }
};

template <class T>
struct AdamWRule {
    T *means, *squares;
    const T* lr;
    const double* numbers;
    T keep_mean, new_mean, keep_square, new_square;  // beta1, 1 − beta1, beta2, 1 − beta2
    T weight_decay, epsilon;

    MLKD_HD T operator()(std::int64_t i, T value, T gradient) const {
        const T m = keep_mean * means[i] + new_mean * gradient;
        const T v = keep_square * squares[i] + new_square * gradient * gradient;
        means[i] = m;
        squares[i] = v;
        const T root = std::sqrt(v) * static_cast<T>(numbers[2]);
        return value - *lr * (weight_decay * value + static_cast<T>(numbers[1]) * m / (root + epsilon));
    }
};

class AdamW final : public Optimizer {
public:
    const char* name() const override { return "AdamW"; }
    std::unique_ptr<Optimizer> clone() const override { return std::make_unique<AdamW>(*this); }
    void settings(SettingVisitor& visitor) override {
        visitor.visit("weight_decay", weight_decay_, rules::weight, "on all parameters");
        visitor.visit("beta1", beta1_, rules::below_one, "of AdamW: share of the mean gradient that stays in a step");
        visitor.visit("beta2", beta2_, rules::below_one, "of AdamW: share of the mean squared gradient that stays in a step");
        visitor.visit("epsilon", epsilon_, rules::positive, "of AdamW: added to the root of the mean squared gradient");
    }
    std::vector<std::string> slots() const override { return {"exp_avg", "exp_avg_sq"}; }
    std::vector<std::string> numbers() const override { return {"step", "mean_factor", "root_factor"}; }
    void update(const Stream& stream, const UpdateTensors& tensors) const override {
        auto* const numbers = tensors.numbers.as<double>();
        for_each_index(stream, 1, CountStep{numbers, beta1_, beta2_});
        with_real_type(tensors.values.dtype, [&](auto zero) {
            using T = decltype(zero);
            update_each<T>(stream, tensors,
                           AdamWRule<T>{tensors.slots[0].as<T>(), tensors.slots[1].as<T>(), tensors.lr.as<T>(), numbers,
                                        static_cast<T>(beta1_), static_cast<T>(1 - beta1_), static_cast<T>(beta2_),
                                        static_cast<T>(1 - beta2_), static_cast<T>(weight_decay_), static_cast<T>(epsilon_)});
        });
    }

private:
    double beta1_ = 0.9, beta2_ = 0.999, epsilon_ = 1e-8, weight_decay_ = 5e-4;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw() { return std::make_unique<AdamW>(); }

}  // namespace mlkd
