#pragma once
// Benchmarks of what a training run is made of, through Google Benchmark: whole steps, losses, own kernels, convolutions.
#include <cstdint>
#include <string>
#include <vector>

#include "apps/device.h"

namespace mlkd {

struct BenchOptions {
    std::string filter;     // regular expression that a part of the name matches; "" for all
    std::string json_file;  // Google Benchmark's JSON; "" for none
    double min_time = 0.2;  // seconds of a repetition
    int repetitions = 5;
    bool graph = true;      // on a GPU: time recordings, not launches one by one
    bool peaks = true;      // measure this machine's peaks, and print shares of them
    DeviceOptions device;   // plan_file: convolutions that are chosen already, and those that are chosen now
};

// The names that the filter selects. Throws UsageError for a filter that is no regular expression or selects nothing.
std::vector<std::string> bench_names(const BenchOptions& options);

// Measures this machine's peaks where they are asked for, then what the filter selects, and prints a table as it goes. Throws as
// bench_names() does, and Error where the JSON file cannot be written.
void run_bench(const BenchOptions& options);

}  // namespace mlkd
