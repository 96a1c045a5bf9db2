#include "losses/mlkd/settings.h"

#include <cctype>

namespace mlkd {
namespace {

const NameRule divergence{[] {
                              return std::vector<std::string>{"frobenius", "kl"};
                          },
                          [](const std::string& text) {
                              std::string name;
                              for (const char c : text) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
                              return name == "frobenius" || name == "kl" ? name : std::string();
                          }};
constexpr Rule<std::vector<double>> temperatures{"1 to 64 numbers greater than 0", [](const std::vector<double>& v) {
                                                     return !v.empty() && v.size() <= 64 &&
                                                            std::all_of(v.begin(), v.end(), [](double t) { return t > 0; });
                                                 }};

}  // namespace

void MlkdSettings::settings(SettingVisitor& visitor) {
    visitor.visit("temperatures", temperatures_, temperatures, "any list; in `mlkd_official` the first three are those of the strong view");
    visitor.visit("divergence", divergence_, divergence, "between correlation matrices: `frobenius` (squared) or `kl`");
    visitor.visit("logit_standardization", standardized_, rules::flag, "in the instance level");
    visitor.visit("loss.ce_weight", ce_weight_, rules::weight, "of the cross entropy, summed over both views");
    visitor.visit("loss.kd_weight", kd_weight_, rules::weight, "of all three levels");
    visitor.visit("loss.instance_weight", instance_weight_, rules::weight, "factor of the instance level, on top of `kd_weight`");
    visitor.visit("loss.batch_weight", batch_weight_, rules::weight, "of the batch level");
    visitor.visit("loss.class_weight", class_weight_, rules::weight, "of the class level");
}

DistillationConfig MlkdSettings::levels() const {
    return {.levels = levels_,
            .temperatures = {temperatures_.begin(), temperatures_.end()},
            .ce_weight = static_cast<float>(ce_weight_),
            .kd_weight = static_cast<float>(kd_weight_),
            .instance_weight = static_cast<float>(instance_weight_),
            .batch_weight = static_cast<float>(batch_weight_),
            .class_weight = static_cast<float>(class_weight_),
            .divergence = divergence_ == "kl" ? Divergence::kl : Divergence::frobenius,
            .logit_standardization = standardized_};
}

}  // namespace mlkd
