#include "engine/files/plan_file.h"

#include <doctest/doctest.h>

#include <string>

#include "engine/backend.h"
#include "engine/cpu/convolution.h"
#include "engine/error.h"
#include "tests/engine/buffers.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using namespace mlkd::test;

TEST_CASE("a plan file gives the choices back to the machine that made them, and to no other") {
    const TemporaryFolder folder;
    const std::string path = folder / "plans.json";
    PlanFile written(path, "machine A", cpu::is_convolution_method);
    CHECK_FALSE(written.find("problem 1").has_value());
    written.remember("problem 1", "winograd");
    written.remember("problem 2", "direct");
    PlanFile read(path, "machine A", cpu::is_convolution_method);
    CHECK(read.find("problem 1") == "winograd");
    CHECK(read.find("problem 2") == "direct");
    CHECK_FALSE(read.find("problem 3").has_value());
    PlanFile elsewhere(path, "machine B", cpu::is_convolution_method);
    CHECK_FALSE(elsewhere.find("problem 1").has_value());
    elsewhere.remember("problem 1", "direct_blocked");
    CHECK(PlanFile(path, "machine B", cpu::is_convolution_method).find("problem 1") == "direct_blocked");
    CHECK_FALSE(PlanFile(path, "machine A", cpu::is_convolution_method).find("problem 1").has_value());
}

TEST_CASE("a damaged or foreign plan file is one clear error") {
    const TemporaryFolder folder;
    const std::string path = folder / "plans.json";
    for (const std::string text : {"", "{", "[]", "{\"format\": \"other\"}", "{\"format\": \"mlkd convolution plans 1\"}",
                                   "{\"format\": \"mlkd convolution plans 1\", \"machine\": \"A\", \"choices\": {\"x\": \"fft\"}}",
                                   "{\"format\": \"mlkd convolution plans 1\", \"machine\": \"A\", \"choices\": {\"x\": 3}}",
                                   "{\"format\": \"mlkd convolution plans 1\", \"machine\": \"A\", \"choices\": 3}"}) {
        write_bytes(path, text);
        CAPTURE(text);
        CHECK_THROWS_WITH_AS(PlanFile(path, "A", cpu::is_convolution_method), doctest::Contains("plans.json: not a plan file of this program"), Error);
        CHECK(read_bytes(path) == text);
    }
    CHECK_THROWS_WITH_AS(PlanFile(folder.path(), "A", cpu::is_convolution_method), doctest::Contains("is a directory"), Error);
}

TEST_CASE("a plan file that cannot be written is an error, as the run could not be repeated") {
    const TemporaryFolder folder;
    PlanFile plans(folder / "missing/plans.json", "A", cpu::is_convolution_method);
    CHECK_THROWS_AS(plans.remember("x", "direct"), Error);
}

TEST_CASE("a second backend with the plan file of a first makes its choices and so repeats its bits") {
    const TemporaryFolder folder;
    CpuOptions options;
    options.plan_file = folder / "plans.json";
    Buffer x({4, 16, 16, 32}), w({32, 3, 3, 32}), first(x.shape()), second(x.shape());
    x.fill_random(1);
    w.fill_random(2);
    make_cpu_backend(options)->convolution_forward(first.tensor(), x.tensor(), w.tensor(), {1, 1});
    const std::string text = read_bytes(options.plan_file);
    CHECK(text.find("forward x(4, 16, 16, 32) w(32, 3, 3, 32) stride 1 padding 1") != std::string::npos);
    make_cpu_backend(options)->convolution_forward(second.tensor(), x.tensor(), w.tensor(), {1, 1});
    CHECK(read_bytes(options.plan_file) == text);
    CHECK(first.values() == second.values());
}

TEST_CASE("a remembered choice is obeyed") {
    const TemporaryFolder folder;
    Buffer x({4, 16, 16, 32}), w({32, 3, 3, 32}), direct(x.shape()), winograd(x.shape()), obeyed(x.shape());
    x.fill_random(1);
    w.fill_random(2);
    const auto run = [&](Buffer& y, const CpuOptions& options) {
        make_cpu_backend(options)->convolution_forward(y.tensor(), x.tensor(), w.tensor(), {1, 1});
    };
    CpuOptions options;
    options.convolution = "direct";
    run(direct, options);
    options.convolution = "winograd";
    run(winograd, options);
    if (direct.values() == winograd.values()) return;  // no Winograd on this CPU: nothing to tell apart

    options.convolution = "auto";
    options.plan_file = folder / "plans.json";
    for (const cpu::ConvolutionMethod method : {cpu::ConvolutionMethod::direct, cpu::ConvolutionMethod::winograd}) {
        PlanFile(options.plan_file, make_cpu_backend()->description(), cpu::is_convolution_method)
            .remember("forward x(4, 16, 16, 32) w(32, 3, 3, 32) stride 1 padding 1", name_of(method));
        run(obeyed, options);
        CHECK(obeyed.values() == (method == cpu::ConvolutionMethod::direct ? direct : winograd).values());
    }
}
