// Decoupled knowledge distillation (Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022). With p, q = softmax(z / T) of student
// and teacher, y the label, and a hat for the softmax over the other classes alone:
//     CE + w · (alpha · T² · mean KL([q_y, 1 − q_y] ‖ [p_y, 1 − p_y])  +  beta · T² · mean KL(q̂ ‖ p̂)),
//     dL/dz = w · T / B · (alpha · (p_y − q_y)(1_y − p̂)  +  beta · (p̂ − q̂)),   p̂ and q̂ being 0 at y.
// w rises to 1 over the first epochs. A row is computed in double: KL of what is close, and 1 − p_y of a sure student, keep their digits.
#include <algorithm>
#include <cmath>

#include "losses/cross_entropy.h"
#include "losses/methods.h"
#include "losses/part_sums.h"
#include "losses/standardization.h"

namespace mlkd {
namespace {

// p − q and q · (e^l − 1 − l), whose sum over a distribution is KL(q ‖ p), with l = log p − log q. Where p is close to q, from l alone.
struct Apart {
    double difference, kl;
    MLKD_HD Apart(double q, double p, double l) : difference(p - q), kl(p - q - q * l) {
        if (!(fabs(l) < 1)) return;
        const double growth = expm1(l);
        difference = q * growth;
        kl = q * (growth - l);
    }
};

// log(1 + e^x).
MLKD_HD inline double softplus(double x) { return fmax(x, 0.0) + log1p(exp(-fabs(x))); }

// The largest logit over T of a row without y, and log Σ e^(z / T) over the same classes.
struct OtherClasses {
    double per_t, log_sum;

    template <class Team>
    MLKD_HD OtherClasses(const Team& team, const float* z, std::int64_t classes, std::int64_t y, double temperature)
        : per_t(1 / temperature), log_sum(0) {
        double maximum = -INFINITY, sum = 0;
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) maximum = k != y && z[k] > maximum ? z[k] : maximum;
        maximum = team.max(maximum);
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) sum += k == y ? 0 : exp((z[k] - maximum) * per_t);
        log_sum = maximum * per_t + log(team.sum(sum));
    }
    MLKD_HD double log_softmax(float z) const { return z * per_t - log_sum; }  // of another class; of y, its log-odds
};

struct DkdRow {
    float *target_kl, *other_kl;     // (B)
    float* gradient;                 // (B, C), added to
    const float *student, *teacher;  // (B, C)
    const std::int32_t* target;      // (B)
    const float* warmup;             // (1): w
    std::int64_t classes;
    double temperature, alpha, beta;  // the weights over B, too

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const float *zs = student + row * classes, *zt = teacher + row * classes;
        float* const g = gradient + row * classes;
        const std::int64_t y = target[row];
        const OtherClasses s(team, zs, classes, y, temperature), t(team, zt, classes, y, temperature);
        const double odds_s = s.log_softmax(zs[y]), odds_t = t.log_softmax(zt[y]);
        // log p_y = −softplus(−odds), log(1 − p_y) = −softplus(odds)
        const double p = exp(-softplus(-odds_s)), q = exp(-softplus(-odds_t)), not_p = exp(-softplus(odds_s)),
                     not_q = exp(-softplus(odds_t));
        const Apart of_y(q, p, softplus(-odds_t) - softplus(-odds_s)), of_rest(not_q, not_p, softplus(odds_t) - softplus(odds_s));
        const double p_minus_q = q > 0.5 ? -of_rest.difference : of_y.difference;  // from the smaller of the two
        const double scale = *warmup * temperature, slope = scale * alpha * p_minus_q;
        double kl = 0;
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) {
            if (k == y) {
                g[k] += static_cast<float>(slope);
                continue;
            }
            const double log_p = s.log_softmax(zs[k]), log_q = t.log_softmax(zt[k]), p_hat = exp(log_p);
            const Apart other(exp(log_q), p_hat, log_p - log_q);
            kl += other.kl;
            g[k] += static_cast<float>(scale * beta * other.difference - slope * p_hat);
        }
        kl = team.sum(kl);
        if (team.rank() == 0) {
            target_kl[row] = static_cast<float>(of_y.kl + of_rest.kl);
            other_kl[row] = static_cast<float>(kl);
        }
    }
};

class Dkd final : public Method {
public:
    const char* name() const override { return "dkd"; }
    const char* other_name() const override { return "DKD"; }
    std::unique_ptr<Method> clone() const override { return std::make_unique<Dkd>(*this); }
    void settings(SettingVisitor& visitor) override {
        visitor.visit("ce_weight", ce_weight_, rules::weight, "of the cross entropy");
        visitor.visit("alpha", alpha_, rules::weight, "of the label's class against the rest (TCKD)");
        visitor.visit("beta", beta_, rules::weight, "of the other classes among themselves (NCKD)");
        visitor.visit("temperature", temperature_, rules::positive, "T");
        visitor.visit("warmup", warmup_, rules::weight, "epochs over which w rises to 1: w = min(epoch / warmup, 1)");
        visitor.visit("logit_standardization", standardized_, rules::flag, "of student's and teacher's logits, before the temperature");
    }
    bool has_cross_entropy() const override { return ce_weight_ > 0; }
    bool teaches() const override { return std::max(alpha_, beta_) > 0; }
    std::vector<std::string> parts() const override { return {"ce", "tckd", "nckd"}; }
    std::vector<Number> numbers(int epoch) const override { return {{"warmup_factor", warmup_ > epoch ? epoch / warmup_ : 1.0}}; }
    void forward_backward(const LossCall& call) override {
        const std::int64_t B = call.samples();
        const auto samples = static_cast<double>(B);
        const Tensor row_ce = call.floats("loss/cross entropy", {B});
        const Tensor target_kl = call.floats("loss/target KL", {B}), other_kl = call.floats("loss/other KL", {B});
        cross_entropy(call.stream(), row_ce, call.dL_dlogits, call.student, call.target, ce_weight_ / samples, call.label_smoothing);
        const StandardizedLogits logits(call, standardized_);
        const float* const warmup = call.numbers.as<float>();
        for_each_row(call.stream(), B,
                     DkdRow{target_kl.as<float>(), other_kl.as<float>(), logits.gradient.as<float>(), logits.student.as<float>(),
                            logits.teacher.as<float>(), call.target.as<std::int32_t>(), warmup, call.classes(), temperature_,
                            alpha_ / samples, beta_ / samples});
        logits.finish();
        const double square = temperature_ * temperature_ / samples;
        sum_parts(call, {{row_ce.as<float>(), B, ce_weight_ / samples},
                         {target_kl.as<float>(), B, alpha_ * square, warmup},
                         {other_kl.as<float>(), B, beta_ * square, warmup}});
    }

private:
    double ce_weight_ = 1, alpha_ = 1, beta_ = 8, temperature_ = 4, warmup_ = 20;
    bool standardized_ = false;
};

}  // namespace

std::unique_ptr<Method> make_dkd() { return std::make_unique<Dkd>(); }

}  // namespace mlkd
