#include "losses/mlkd/terms.h"

#include <algorithm>

namespace mlkd {
namespace {

class TermList {
public:
    explicit TermList(bool standardized) : standardized_(standardized) {}

    void add_instance(int view, float temperature, float weight, float masked_weight) {
        Term& term = at(view, temperature, standardized_);
        term.instance += weight;
        term.instance_masked += masked_weight;
    }
    void add_correlation(int view, float temperature, float batch, float class_) {
        Term& term = at(view, temperature, false);
        term.batch += batch;
        term.class_ += class_;
    }
    std::vector<Term> take() {
        std::erase_if(terms_, [](const Term& term) { return !term.correlates() && term.instance == 0 && term.instance_masked == 0; });
        std::stable_partition(terms_.begin(), terms_.end(), [](const Term& term) { return term.correlates(); });
        return std::move(terms_);
    }

private:
    Term& at(int view, float temperature, bool standardized) {
        for (Term& term : terms_)
            if (term.view == view && term.temperature == temperature && term.standardized == (standardized ? 1 : 0)) return term;
        return terms_.emplace_back(Term{.view = view, .standardized = standardized ? 1 : 0, .temperature = temperature});
    }
    bool standardized_;
    std::vector<Term> terms_;
};

}  // namespace

std::vector<Term> terms_of(const DistillationConfig& config) {
    constexpr int weak = 0, strong = 1;
    constexpr std::size_t strong_entries = 3;  // of the released code's list; it takes the weak logits for the others
    const float instance = config.kd_weight * config.instance_weight;
    const float batch = config.kd_weight * config.batch_weight;
    const float class_ = config.kd_weight * config.class_weight;
    TermList terms(config.logit_standardization);
    for (std::size_t i = 0; i < config.temperatures.size(); ++i) {
        const float temperature = config.temperatures[i];
        switch (config.levels) {
            case Levels::none:
                break;
            case Levels::instance:
                terms.add_instance(weak, temperature, instance, 0);
                break;
            case Levels::paper:
                for (int view : {weak, strong}) {
                    terms.add_correlation(view, temperature, batch, class_);
                    terms.add_instance(view, temperature, instance, 0);
                }
                break;
            case Levels::released:
                terms.add_correlation(weak, temperature, batch, class_);
                terms.add_instance(weak, temperature, 0, instance);
                terms.add_instance(i < strong_entries ? strong : weak, temperature, instance, 0);
                break;
        }
    }
    return terms.take();
}

}  // namespace mlkd
