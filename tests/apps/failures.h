#pragma once
// Runs of the program that must fail, and checkpoints that make it fail.
#include <doctest/doctest.h>

#include "engine/files/safetensors.h"
#include "tests/apps/tiny_runs.h"

namespace mlkd::test {

// Runs mlkd, which must fail with `code` and in one line that contains every text.
inline void check_failure(const Arguments& arguments, int code, const std::vector<std::string>& texts) {
    std::string line = "mlkd";
    for (const std::string& argument : arguments) line += " " + argument;
    INFO(line);
    const Outcome outcome = run_mlkd(arguments);
    CHECK(outcome.signal == 0);
    CHECK(outcome.exit_code == code);
    CHECK_MESSAGE(is_one_line(outcome.err), outcome.err);
    for (const std::string& text : texts) {
        const bool said = outcome.err.find(text) != std::string::npos;
        CHECK_MESSAGE(said, outcome.err, " lacks ", text);
    }
}

inline constexpr int runtime_error = 1, usage = 2, non_finite = 3;

inline Arguments eval_arguments(const std::string& checkpoint, const std::string& data = tiny_data, const Arguments& more = {}) {
    Arguments all{"eval", "--device", "cpu", "--threads", "2", "--checkpoint", checkpoint, "--data", data};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

inline std::string good_checkpoint() { return teacher_run() + "/student_best.safetensors"; }

// The good checkpoint, changed.
inline std::string changed(const std::string& path, const std::function<void(SafetensorsFile&)>& change) {
    SafetensorsFile file = read_safetensors(good_checkpoint());
    change(file);
    write_safetensors(path, file);
    return path;
}

}  // namespace mlkd::test
