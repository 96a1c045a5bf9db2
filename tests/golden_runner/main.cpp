// golden FILE…: runs cases of reference values and prints PASS or FAIL for each, with the largest error relative to its
// tolerance. Exit code 1 when one failed, 2 when the command line is wrong.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "apps/device.h"
#include "apps/output.h"
#include "cases.h"
#include "engine/error.h"
#include "engine/text/shown_text.h"

int main(int argc, char** argv) {
    mlkd::open_standard_streams();
    CLI::App app{"Compares losses, networks, trajectories and augmentations with reference values."};
    std::vector<std::string> files;
    mlkd::DeviceOptions options;
    app.add_option("files", files, "cases (.safetensors)")->required()->check(CLI::ExistingFile);
    app.add_option("--device", options.device, "cpu, cuda or auto")->capture_default_str();
    app.add_option("--threads", options.threads, "CPU threads; 0: all")->capture_default_str();
    app.add_option("--convolution", options.convolution, "auto, direct or winograd")->capture_default_str();
    app.add_flag("--deterministic", options.deterministic, "convolutions by fixed rules: none is timed");
    std::string precision = "auto";
    app.add_option("--precision", precision, "of networks: f32, f64, or auto: f32, and f64 too where f32 is not within the tolerances")
        ->check(CLI::IsMember({"auto", "f32", "f64"}))
        ->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    try {
        options.precision = "fp32";  // of a GPU's convolutions: the tolerances leave no room for TF32
        const auto backend = mlkd::make_backend(options);
        std::size_t failed = 0;
        for (const std::string& file : files) {
            try {
                const mlkd::golden::Verdict verdict = mlkd::golden::judge(*backend, mlkd::read_safetensors(file), precision);
                mlkd::print("{} {}: {}\n", verdict.passed ? "PASS" : "FAIL", mlkd::shown(file), mlkd::shown(verdict.text));
                failed += !verdict.passed;
            } catch (const std::exception& error) {
                mlkd::print("FAIL {}: {}\n", mlkd::shown(file), mlkd::shown(error.what()));
                ++failed;
            }
        }
        mlkd::print("{} passed, {} failed\n", files.size() - failed, failed);
        return static_cast<int>(mlkd::finish_output(failed == 0 ? mlkd::ExitCode::done : mlkd::ExitCode::runtime_error));
    } catch (const std::exception& error) {
        mlkd::print_error(fmt::format("golden: {}", error.what()));
        return 1;
    }
}
