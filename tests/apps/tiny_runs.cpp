#include "tests/apps/tiny_runs.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

namespace mlkd::test {
namespace {

namespace fs = std::filesystem;

// A run and its folder, for as long as the tests last.
struct Kept {
    TemporaryFolder folder;
    std::string path = folder / "run";
    Outcome outcome;
};

const Kept& teacher() {
    static const Kept* const kept = [] {
        static Kept run;
        run.outcome = run_mlkd(train_arguments(run.path));
        return &run;
    }();
    REQUIRE_MESSAGE(kept->outcome.exit_code == 0, kept->outcome.err);
    return *kept;
}

const Kept& student() {
    static const Kept* const kept = [] {
        static Kept run;
        run.outcome = run_mlkd(distil_arguments(run.path, "mlkd"));
        return &run;
    }();
    REQUIRE_MESSAGE(kept->outcome.exit_code == 0, kept->outcome.err);
    return *kept;
}

bool same_bytes(const HostTensor& a, const HostTensor& b) { return a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes; }

std::string difference_of_files(const std::string& run, const std::string& other, const std::string& name) {
    if (fs::exists(run + "/" + name) != fs::exists(other + "/" + name)) return name + " is missing in one";
    SafetensorsFile a = read_safetensors(run + "/" + name), b = read_safetensors(other + "/" + name);
    for (SafetensorsFile* file : {&a, &b})
        for (const char* seconds : {"progress.seconds", "progress.waited_for_data"}) file->tensors.erase(seconds);
    if (a.metadata != b.metadata) return name + ": metadata";
    if (a.tensors.size() != b.tensors.size()) return name + ": number of tensors";
    for (const auto& [key, tensor] : a.tensors)
        if (!b.tensors.contains(key) || !same_bytes(tensor, b.tensors.at(key))) return name + ": " + key;
    return {};
}

}  // namespace

Arguments with_settings(const Arguments& all, const Arguments& more) {
    const auto key_of = [](const std::string& argument) {
        const std::size_t equals = argument.find('=');
        return argument.starts_with("--") || equals == std::string::npos ? std::string() : argument.substr(0, equals);
    };
    Arguments out;
    for (const std::string& argument : all) {
        const bool replaced = std::any_of(more.begin(), more.end(), [&](const std::string& other) {
            return !key_of(other).empty() && key_of(other) == key_of(argument);
        });
        if (!replaced) out.push_back(argument);
    }
    out.insert(out.end(), more.begin(), more.end());
    return out;
}

Arguments train_arguments(const std::string& output, const Arguments& more) {
    Arguments all{"train",
                  "--device",
                  "cpu",
                  "--threads",
                  "2",
                  "--output",
                  output,
                  std::string("dataset.path=") + tiny_data,
                  "distiller.student=resnet8",
                  "solver.batch_size=32",
                  "solver.lr_decay_stages=[2]",
                  "solver.epochs=" + std::to_string(tiny_epochs)};
    return with_settings(all, more);
}

Arguments distil_arguments(const std::string& output, const std::string& method, const Arguments& more) {
    // Gentler than the recipes, whose losses are large for so few classes.
    Arguments all{"distiller.type=" + method,
                  "distiller.teacher=resnet8",
                  "distiller.teacher_checkpoint=" + teacher_run() + "/student_best.safetensors",
                  "solver.lr=0.01",
                  "mlkd.temperatures=[4, 2]",
                  "mlkd.loss.class_weight=0.1"};
    return train_arguments(output, with_settings(all, more));
}

const std::string& teacher_run() { return teacher().path; }
const std::string& mlkd_run() { return student().path; }
Outcome teacher_outcome() { return teacher().outcome; }

std::string folder_with_plans_of(const std::string& run, const std::string& folder) {
    fs::create_directories(folder);
    fs::copy_file(run + "/convolution_plans.json", folder + "/convolution_plans.json");
    return folder;
}

Metrics metrics_of(const std::string& run) {
    Metrics metrics;
    std::istringstream lines(read_bytes(run + "/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) metrics.push_back(nlohmann::ordered_json::parse(line));
    return metrics;
}

Metrics without_times(Metrics metrics) {
    for (auto& line : metrics)
        for (const char* key : {"train_seconds", "test_seconds", "data_share", "images_per_second"}) line.erase(key);
    return metrics;
}

std::string difference(const std::string& run, const std::string& other) {
    const Metrics a = without_times(metrics_of(run)), b = without_times(metrics_of(other));
    if (a.size() != b.size()) return "metrics of " + std::to_string(a.size()) + " and " + std::to_string(b.size()) + " epochs";
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i]) return "metrics: " + a[i].dump() + " and " + b[i].dump();
    for (const char* name : {"last", "best", "student_last", "student_best"})
        if (const std::string found = difference_of_files(run, other, std::string(name) + ".safetensors"); !found.empty()) return found;
    return {};
}

std::vector<std::string> files_with(const std::string& folder, const std::string& text) {
    std::vector<std::string> names;
    std::error_code gone;  // a file may be renamed while one looks
    for (fs::directory_iterator entry(folder, gone), end; !gone && entry != end; entry.increment(gone))
        if (const std::string name = entry->path().filename().string(); name.find(text) != std::string::npos) names.push_back(name);
    return names;
}

double accuracy_in(const std::string& output) {
    const std::string mark = " * Acc@1 ";
    const std::size_t found = output.find(mark);
    REQUIRE_MESSAGE(found != std::string::npos, output);
    return std::stod(output.substr(found + mark.size()));
}

bool is_one_line(const std::string& err) {
    return err.starts_with("mlkd: ") && err.size() > 16 && err.find('\n') == err.size() - 1 && err.find('\r') == std::string::npos;
}

}  // namespace mlkd::test
