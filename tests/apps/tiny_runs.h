#pragma once
// Runs that take seconds, and what they leave behind.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "tests/apps/process.h"

namespace mlkd::test {

using Arguments = std::vector<std::string>;

// `all` with `more` behind it, but for the settings of which `more` has another.
Arguments with_settings(const Arguments& all, const Arguments& more);

// resnet8 on synthetic images; the last batch of an epoch and of the test set are smaller than the others. What `more` sets
// takes the place of what is set here.
Arguments train_arguments(const std::string& output, const Arguments& more = {});
// The same distilled with `method` from teacher_run()'s network.
Arguments distil_arguments(const std::string& output, const std::string& method, const Arguments& more = {});

constexpr const char* tiny_data = "synthetic:200:4";
constexpr int tiny_epochs = 4;

// Folders of runs that several tests look at, made when first asked for: a network alone, and mlkd from it, student_best
// of the one as teacher of the other.
const std::string& teacher_run();
const std::string& mlkd_run();
Outcome teacher_outcome();

// Makes a folder that holds the convolutions chosen in `run`, so that another run computes the same bits.
std::string folder_with_plans_of(const std::string& run, const std::string& folder);

using Metrics = std::vector<nlohmann::ordered_json>;
Metrics metrics_of(const std::string& run);
// Without what the clock says.
Metrics without_times(Metrics metrics);

// The first difference between the results of two runs (metrics but times, weights, momenta, progress but seconds), in
// words; empty when there is none.
std::string difference(const std::string& run, const std::string& other);

// Names in a folder that contain `text`.
std::vector<std::string> files_with(const std::string& folder, const std::string& text);

// "top-1" of mlkd eval's output " * Acc@1 55.078 Acc@5 100.000".
double accuracy_in(const std::string& output);

// Whether a process said one line on standard error, as every failure does.
bool is_one_line(const std::string& err);

}  // namespace mlkd::test
