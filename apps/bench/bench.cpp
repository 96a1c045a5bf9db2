#include "apps/bench/bench.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>

#include "apps/bench/bench_case.h"
#include "apps/bench/bench_peak.h"
#include "apps/bench/bench_report.h"
#include "apps/output.h"
#include "apps/signals.h"
#include "engine/error.h"
#include "engine/files/atomic_file.h"

namespace mlkd {
namespace {

std::vector<BenchCase> selected_cases(const BenchOptions& options, Backend& backend) {
    std::vector<BenchCase> cases;
    const DType precision = network_type(options.device.precision);
    add_step_cases(cases, precision);
    add_loss_cases(cases);
    add_kernel_cases(cases, precision);
    add_view_cases(cases);
    add_convolution_cases(cases, backend, precision);
    try {
        const std::regex filter(options.filter);
        std::erase_if(cases, [&](const BenchCase& one) { return !std::regex_search(one.name, filter); });
    } catch (const std::regex_error& error) {
        throw UsageError(fmt::format("--filter '{}' is no regular expression: {}", options.filter, error.what()));
    }
    if (cases.empty()) throw UsageError(fmt::format("--filter '{}' selects no benchmark; mlkd bench --list shows all", options.filter));
    return cases;
}

// The process' peak of resident memory starts again, where the kernel allows it.
void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

double peak_memory_bytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * static_cast<double>(usage.ru_maxrss);
}

// Holds what the running benchmark works on: prepared when its turn comes, through all repetitions, gone with the next.
class Stage {
public:
    Stage(Backend& backend, const std::optional<MachinePeaks>& peaks, bool graph)
        : backend_(backend), peaks_(peaks), on_gpu_(backend.stream().device == DeviceKind::cuda), graph_(graph) {}

    void run(const BenchCase& one, benchmark::State& state) {
        if (current_ != &one) {
            recording_ = nullptr;
            work_ = {};
            forget_peak_memory();
            work_ = one.prepare(backend_);
            current_ = &one;
            work_.run();  // plans, arenas and caches settle before the clock runs
            backend_.synchronize();
            if (on_gpu_) prepare_round();
        }
        if (on_gpu_) {
            while (state.KeepRunningBatch(runs_)) state.SetIterationTime(seconds_of_round());
        } else {
            for ([[maybe_unused]] auto iteration : state) {
                work_.run();
                backend_.synchronize();
            }
        }
        if (recording_ != nullptr) state.counters["kernels"] = static_cast<double>(recording_->kernels()) / recorded_runs_;
        using benchmark::Counter;
        const auto rate = [&](const char* name, double amount) {
            if (amount > 0) state.counters[name] = Counter(amount, Counter::kIsIterationInvariantRate);
        };
        rate("GFLOP/s", work_.flop / 1e9);
        if (peaks_) rate("% of peak FLOP/s", 100 * work_.flop / peaks_->flop_per_second);
        rate("GB/s", work_.bytes / 1e9);
        if (peaks_) rate("% of peak bandwidth", 100 * work_.bytes / peaks_->bytes_per_second);
        rate("images/s", work_.images);
        if (work_.images > 0)
            state.counters["µs/image"] = Counter(work_.images / 1e6, Counter::kIsIterationInvariantRate | Counter::kInvert);
        if (work_.workspace_bytes) state.counters["MB workspace"] = work_.workspace_bytes() / 1e6;
        state.counters["MB peak"] = peak_memory_bytes() / 1e6;
    }

private:
    // A GPU is timed by rounds of many runs: starting the first one and waiting for the last one takes some ten microseconds, longer
    // than many a kernel. A round replays a recording of several runs, since starting a small one takes longer than it runs.
    void prepare_round() {
        constexpr double seconds_of_a_recording = 2e-3, seconds_of_a_round = 20e-3;
        constexpr int most_runs = 200, most_replays = 200;
        runs_ = recorded_runs_ = replays_ = 1;
        recorded_runs_ = times_in(seconds_of_a_recording, most_runs);
        if (graph_) recording_ = backend_.record([&] { run_each(); });
        if (recording_ != nullptr && recording_->kernels() == 0) recording_ = nullptr;  // work of the host
        seconds_of_round();
        replays_ = times_in(seconds_of_a_round, most_replays);
        runs_ = recorded_runs_ * replays_;
    }
    // How many rounds as they are now take so long.
    int times_in(double seconds, int most) { return std::clamp(static_cast<int>(seconds / seconds_of_round()), 1, most); }
    void run_each() {
        for (int run = 0; run < recorded_runs_; ++run) work_.run();
    }
    double seconds_of_round() {
        const auto start = std::chrono::steady_clock::now();
        for (int replay = 0; replay < replays_; ++replay) {
            if (recording_ != nullptr)
                recording_->replay();
            else
                run_each();
        }
        backend_.synchronize();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }

    Backend& backend_;
    std::optional<MachinePeaks> peaks_;
    bool on_gpu_, graph_;
    const BenchCase* current_ = nullptr;
    BenchWork work_;
    int recorded_runs_ = 1, replays_ = 1, runs_ = 1;  // of a recording; of it in a round; of a round
    std::unique_ptr<Recording> recording_;
};

double statistic_min(const std::vector<double>& values) { return *std::min_element(values.begin(), values.end()); }
double statistic_max(const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); }

// Results of before may be replaced, and an empty file, but nothing else.
void refuse_foreign_file(const std::string& path) {
    std::error_code absent;
    if (!std::filesystem::is_regular_file(path, absent) || std::filesystem::file_size(path, absent) == 0) return;
    std::ifstream file(path);
    const auto json = nlohmann::json::parse(file, nullptr, false);
    if (!json.is_object() || !json.contains("context") || !json.contains("benchmarks"))
        throw UsageError(fmt::format("--json {}: exists and holds no benchmark results; choose another name", path));
}

void initialize_library(const BenchOptions& options) {
    static char name[] = "mlkd bench";  // the library keeps the pointer, for its reports
    std::vector<std::string> arguments{fmt::format("--benchmark_min_time={}{}", options.min_time, MLKD_BENCHMARK_SECONDS),
                                       fmt::format("--benchmark_repetitions={}", options.repetitions)};
    std::vector<char*> argv{name};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    auto argc = static_cast<int>(argv.size());
    argv.push_back(nullptr);
    benchmark::Initialize(&argc, argv.data());
}

}  // namespace

std::vector<std::string> bench_names(const BenchOptions& options) {
    const auto backend = make_backend(options.device);
    std::vector<std::string> names;
    for (const BenchCase& one : selected_cases(options, *backend)) names.push_back(one.name);
    return names;
}

void run_bench(const BenchOptions& options) {
    refuse_foreign_file(options.json_file);
    const auto backend = make_backend(options.device);
    const std::vector<BenchCase> cases = selected_cases(options, *backend);
    if (!options.json_file.empty()) require_writable(options.json_file);
    initialize_library(options);
    benchmark::AddCustomContext("device", backend->description());
    benchmark::AddCustomContext("precision", resolved_precision(options.device.precision, *backend));
    print("{}, networks and convolutions in {}\n", backend->description(), resolved_precision(options.device.precision, *backend));
    std::optional<MachinePeaks> peaks;
    if (options.peaks) {
        peaks = measure_peaks(*backend, network_type(options.device.precision));
        print("peaks measured now: {:.0f} GFLOP/s ({}), {:.1f} GB/s\n", peaks->flop_per_second / 1e9, peaks->source,
              peaks->bytes_per_second / 1e9);
        benchmark::AddCustomContext("peak_gflop_per_second", fmt::format("{}", peaks->flop_per_second / 1e9));
        benchmark::AddCustomContext("peak_gb_per_second", fmt::format("{}", peaks->bytes_per_second / 1e9));
    }
    benchmark::ClearRegisteredBenchmarks();
    Stage stage(*backend, peaks, options.graph);
    std::size_t width = 0;
    for (const BenchCase& one : cases) {
        auto* const registered =
            benchmark::RegisterBenchmark(one.name.c_str(), [&stage, &one](benchmark::State& state) { stage.run(one, state); });
        const bool on_gpu = backend->stream().device == DeviceKind::cuda;
        (on_gpu ? registered->UseManualTime() : registered->UseRealTime())
            ->MeasureProcessCPUTime()  // of all threads
            ->Unit(benchmark::kMillisecond)
            ->ComputeStatistics("min", statistic_min)
            ->ComputeStatistics("max", statistic_max);
        width = std::max(width, one.name.size());
    }
    BenchReporter reporter(width);
    benchmark::RunSpecifiedBenchmarks(&reporter);
    benchmark::ClearRegisteredBenchmarks();
    if (options.json_file.empty()) return;
    const SignalWatch watch(OnSignal::note);  // while the file is half written
    write_file_atomically(options.json_file, reporter.json());
    stop_if_signalled();
}

}  // namespace mlkd
