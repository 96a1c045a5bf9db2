#include "distillation_settings.h"

#include <nlohmann/json.hpp>

#include "engine/error.h"

namespace mlkd::golden {

DistillationConfig distillation_settings(const SafetensorsFile& file) {
    const auto optional = [&](const std::string& key, const std::string& fallback) {
        const auto found = file.metadata.find(key);
        return found == file.metadata.end() ? fallback : found->second;
    };
    DistillationConfig config;
    const std::string& method = file.meta("method");
    if (method == "none") config.method = Method::none;
    else if (method == "kd") config.method = Method::kd;
    else if (method == "mlkd") config.method = Method::mlkd;
    else if (method == "mlkd_official") config.method = Method::mlkd_official;
    else throw Error("unknown method '" + method + "'");
    config.temperatures = nlohmann::json::parse(file.meta("temperatures")).get<std::vector<float>>();
    config.ce_weight = std::stof(file.meta("ce_weight"));
    config.kd_weight = std::stof(file.meta("kd_weight"));
    config.divergence = optional("divergence", "frobenius") == "kl" ? Divergence::kl : Divergence::frobenius;
    config.logit_standardization = optional("logit_standardization", "false") == "true";
    return config;
}

}  // namespace mlkd::golden
