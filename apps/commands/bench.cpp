#include "apps/bench/bench.h"

#include <fmt/format.h>

#include <memory>

#include "apps/commands/commands.h"
#include "apps/output.h"
#include "apps/signals.h"

namespace mlkd {

void add_bench_command(CLI::App& app, ExitCode&) {
    struct Arguments {
        BenchOptions options;
        bool list = false, no_graph = false, no_peaks = false;
    };
    auto arguments = std::make_shared<Arguments>();
    BenchOptions& options = arguments->options;
    CLI::App* command = app.add_subcommand("bench", "Time training steps, losses, kernels and convolutions against this machine's peaks");
    command->add_option("--filter", options.filter, "only benchmarks whose name a part of matches this regular expression");
    CLI::Option* const json = command->add_option("--json", options.json_file, "write the results there, as Google Benchmark's JSON");
    command->add_option("--min-time", options.min_time, "seconds of a repetition, at least")
        ->capture_default_str()
        ->check(CLI::Range(1e-6, 3600.0));
    command->add_option("--repetitions", options.repetitions, "repetitions of each benchmark")->capture_default_str()->check(CLI::Range(1, 10000));
    command->add_option("--plans", options.device.plan_file, "keep the choices of convolutions there (JSON), for the next call");
    command->add_flag("--no-graph", arguments->no_graph, "on a GPU, launch kernels one by one, not as a graph");
    command->add_flag("--no-peaks", arguments->no_peaks, "do not measure the machine's peaks, and leave out the shares of them");
    command->add_flag("--list", arguments->list, "print the names and stop")->excludes(json);
    add_device_options(*command, options.device);
    command->footer(
        "Times are wall-clock. Shares are of peaks measured at the start: multiply-adds in registers, and adding large arrays.\n"
        "Small tensors stay in caches, so their GB/s may pass the peak, which is the memory's. Winograd convolutions need fewer\n"
        "multiplications than are counted. 'MB peak' is the process' memory since the benchmark's preparation, 'MB workspace'\n"
        "what a loss takes beyond its inputs and gradients. On a GPU a benchmark is recorded as a graph, replayed as often as\n"
        "takes twenty milliseconds, and the time is a run's share.\n"
        "conv/… lists a shape once, under the first network that has it: resnet20, resnet8x4, resnet32x4.\n"
        "Examples:\n"
        "  mlkd bench --filter '^step/' --json steps.json\n"
        "  mlkd bench --filter 'conv/resnet8x4/.*/forward' --threads 1");
    command->callback([arguments] {
        arguments->options.graph = !arguments->no_graph;
        arguments->options.peaks = !arguments->no_peaks;
        const SignalWatch watch(OnSignal::end);
        if (!arguments->list) return run_bench(arguments->options);
        for (const std::string& name : bench_names(arguments->options)) print("{}\n", name);
    });
}

}  // namespace mlkd
