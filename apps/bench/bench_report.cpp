#include "apps/bench/bench_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/output.h"

namespace mlkd {
namespace {

// "812 ns", "12.3 µs", "45.6 ms", in nine columns.
std::string time_text(double seconds) {
    if (seconds < 1e-6) return fmt::format("{:>6.0f} ns", seconds * 1e9);
    if (seconds < 1e-3) return fmt::format("{:>6.1f} µs", seconds * 1e6);
    if (seconds < 1) return fmt::format("{:>6.2f} ms", seconds * 1e3);
    return fmt::format("{:>6.3f} s ", seconds);
}

}  // namespace

BenchReporter::BenchReporter(std::size_t names_width) : names_width_(names_width) {
    json_.SetOutputStream(&json_text_);
    json_.SetErrorStream(&json_text_);
}

bool BenchReporter::ReportContext(const Context& context) {
    print("{:<{}}  {:>9} {:>9} {:>9}  {}\n", "", names_width_, "min", "median", "max", "at min");
    return json_.ReportContext(context);
}

void BenchReporter::ReportRuns(const std::vector<Run>& runs) {
    std::vector<Run> named = runs;
    for (Run& run : named) run.run_name.time_type.clear();  // all are wall-clock: "/real_time" says nothing
    json_.ReportRuns(named);

    std::vector<const Run*> repetitions;
    for (const Run& run : named)
        if (run.run_type == Run::RT_Iteration && run.iterations > 0) repetitions.push_back(&run);
    if (repetitions.empty()) return;
    const auto seconds = [](const Run* run) { return run->real_accumulated_time / static_cast<double>(run->iterations); };
    std::sort(repetitions.begin(), repetitions.end(), [&](const Run* a, const Run* b) { return seconds(a) < seconds(b); });
    const std::size_t count = repetitions.size();
    const double median = (seconds(repetitions[(count - 1) / 2]) + seconds(repetitions[count / 2])) / 2;
    std::string counters;
    for (const auto& [name, counter] : repetitions.front()->counters) counters += fmt::format("  {:.4g} {}", counter.value, name);
    print("{:<{}}  {} {} {}{}\n", repetitions.front()->benchmark_name(), names_width_, time_text(seconds(repetitions.front())),
          time_text(median), time_text(seconds(repetitions.back())), counters);
}

void BenchReporter::Finalize() { json_.Finalize(); }

}  // namespace mlkd
