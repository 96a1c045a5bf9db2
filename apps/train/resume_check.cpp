#include "apps/train/resume_check.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/error.h"

namespace mlkd {
namespace {

bool same_rates(const Config& before, const Config& now, std::int64_t epochs) {
    for (int epoch = 1; epoch <= epochs; ++epoch)
        if (learning_rate(before.solver, epoch) != learning_rate(now.solver, epoch)) return false;
    return true;
}

bool may_change(const std::string& key, const Config& before, const Config& now, const Progress& progress) {
    const std::int64_t done = progress.epoch - 1, begun = progress.next_batch > 0 ? progress.epoch : done;
    if (key == "solver.epochs") return now.solver.epochs >= done && same_rates(before, now, begun);
    if (key.starts_with("solver.lr") || key == "solver.schedule" || key == "solver.warmup_epochs") return same_rates(before, now, begun);
    // The data themselves are compared.
    return key == "dataset.type" || key == "dataset.test.batch_size";
}

}  // namespace

std::string SettingChange::text() const { return fmt::format("{} was {}, is {}", key, before.dump(), now.dump()); }

Config config_of_run(const CheckpointInfo& saved, const std::string& path, const std::string& config_file, const Config& now) {
    if (!saved.settings.empty()) {
        const auto settings = nlohmann::ordered_json::parse(saved.settings, nullptr, false);
        if (!settings.is_object()) throw Error(fmt::format("{}: its settings cannot be read: damaged", path));
        return config_of(settings, path);
    }
    if (saved.config_hash == config_hash(now)) return now;
    if (std::filesystem::exists(config_file))
        if (Config config = load_config(config_file, {}); config_hash(config) == saved.config_hash) return config;
    throw UsageError(fmt::format("{}: was made under another configuration (hash {}, now {}), which {} does not hold; start anew", path,
                                 saved.config_hash, config_hash(now), config_file));
}

std::vector<SettingChange> changed_settings(const Config& before, const Config& now, const Progress& progress, bool teacher_known) {
    const nlohmann::ordered_json old_values = settings_of(before), new_values = settings_of(now);
    std::vector<SettingChange> changes;
    for (const auto& [key, value] : new_values.items())
        if (old_values[key] != value && !(teacher_known && key == "distiller.teacher_checkpoint") &&
            (determines_numbers(before, key) || determines_numbers(now, key)))
            changes.push_back({key, old_values[key], value, may_change(key, before, now, progress)});
    return changes;
}

std::vector<std::string> resume_warnings(const CheckpointInfo& saved, const CheckpointInfo& current, const Config& before,
                                         const Config& now, DeviceKind device) {
    std::vector<std::string> warnings;
    if (saved.threads != current.threads)
        warnings.push_back(fmt::format("the run used {} threads, now {}", saved.threads, current.threads));
    if (!saved.precision.empty() && saved.precision != current.precision)
        warnings.push_back(fmt::format("the run computed in {}, now in {}", saved.precision, current.precision));
    if (device == DeviceKind::cpu) return warnings;
    if (before.products != now.products) warnings.push_back(fmt::format("products were in {}, now in {}", before.products, now.products));
    if (before.nondeterministic != now.nondeterministic)
        warnings.push_back(fmt::format("nondeterministic was {}, is {}", before.nondeterministic, now.nondeterministic));
    return warnings;
}

}  // namespace mlkd
