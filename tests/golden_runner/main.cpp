// golden FILE…: runs cases of reference values and prints PASS or FAIL for each, with the largest error relative to its
// tolerance. Exit code 1 when one failed, 2 when the command line is wrong.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/device.h"
#include "cases.h"
#include "engine/error.h"

int main(int argc, char** argv) {
    CLI::App app{"Compares losses, networks, trajectories and augmentations with reference values."};
    std::vector<std::string> files;
    mlkd::DeviceOptions options;
    app.add_option("files", files, "cases (.safetensors)")->required();
    app.add_option("--device", options.device, "cpu, cuda or auto")->capture_default_str();
    app.add_option("--threads", options.threads, "CPU threads; 0: all")->capture_default_str();
    app.add_option("--convolution", options.convolution, "auto, direct or winograd")->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    try {
        const auto backend = mlkd::make_backend(options);
        std::size_t failed = 0;
        for (const std::string& file : files) {
            try {
                const mlkd::golden::Report report = mlkd::golden::run_case(*backend, mlkd::read_safetensors(file));
                const auto& worst = report.worst();
                fmt::print("{} {}: largest error {:.2e} (tolerance {:.0e}) at {}\n", report.passed() ? "PASS" : "FAIL", file, worst.error,
                           worst.tolerance, worst.where);
                failed += !report.passed();
            } catch (const std::exception& error) {
                fmt::print("FAIL {}: {}\n", file, error.what());
                ++failed;
            }
            std::fflush(stdout);
        }
        fmt::print("{} passed, {} failed\n", files.size() - failed, failed);
        return failed == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        fmt::print(stderr, "golden: {}\n", error.what());
        return 1;
    }
}
