#include "losses/mlkd/level_method.h"

#include "losses/mlkd/terms.h"

namespace mlkd {

// The five matrix products of each term with squared distances, see gram_correlation.h.
double LevelMethod::product_flop(std::int64_t samples, std::int64_t classes) const {
    const DistillationConfig config = levels();
    if (config.divergence == Divergence::kl) return 0;
    const auto terms = terms_of(config);
    const auto correlating = std::count_if(terms.begin(), terms.end(), [](const Term& term) { return term.correlates(); });
    const auto small = static_cast<double>(std::min(samples, classes));
    return 10.0 * static_cast<double>(correlating) * small * small * static_cast<double>(std::max(samples, classes));
}

}  // namespace mlkd
