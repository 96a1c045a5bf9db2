#pragma once
// Whether a run may go on under a configuration that differs from its own: what does not change the epochs that are done may
// change (more epochs, later decay stages, the test's batch size, workers, names, folders, logging), the rest may not.
#include "apps/config/config.h"
#include "apps/train/checkpoint.h"
#include "engine/tensor.h"

namespace mlkd {

// The configuration that the checkpoint `path` was made under; `config_file` is the one in the run's folder, for checkpoints
// that hold none. Throws UsageError where it cannot be told, unless `now` has the checkpoint's hash.
Config config_of_run(const CheckpointInfo& saved, const std::string& path, const std::string& config_file, const Config& now);

struct SettingChange {
    std::string key;
    nlohmann::ordered_json before, now;
    bool allowed;
    std::string text() const;  // "solver.lr was 0.05, is 0.1"
};

// The settings that determine numbers and differ. `teacher_known`: the teachers' weights were compared, so that names of
// files say nothing.
std::vector<SettingChange> changed_settings(const Config& before, const Config& now, const Progress& progress, bool teacher_known);

// What changes the last bits or more of the epochs to come, although the settings above agree: how the run was computed
// (`saved`, `before`) and is now (`current`, `now`). A line each.
std::vector<std::string> resume_warnings(const CheckpointInfo& saved, const CheckpointInfo& current, const Config& before,
                                         const Config& now, DeviceKind device);

}  // namespace mlkd
