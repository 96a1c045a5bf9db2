// mlkd bench --plans: convolutions that one call has planned are not planned anew by the next.
#include <nlohmann/json.hpp>

#include "tests/apps/failures.h"

using namespace mlkd;
using namespace mlkd::test;

TEST_CASE("bench: --plans keeps the choices of convolutions, and takes those that it finds") {
    const TemporaryFolder folder;
    const std::string plans = folder / "plans.json";
    const Arguments bench{"bench",     "--device",   "cpu",           "--threads", "1",       "--filter", "^conv/resnet20/layer1.0.conv1/",
                          "--min-time", "0.00001", "--repetitions", "1",         "--plans", plans};
    const Outcome first = run_mlkd(bench);
    CHECK_MESSAGE(first.exit_code == 0, first.err);
    nlohmann::json file = nlohmann::json::parse(read_bytes(plans));
    REQUIRE(file["choices"].size() == 3);  // forward and both gradients
    // A call that did not read the file, or did not find its problems there, would write a file without this one.
    file["choices"]["of another program"] = "direct";
    write_bytes(plans, file.dump());
    CHECK(run_mlkd(bench).exit_code == 0);
    CHECK(read_bytes(plans) == file.dump());
    write_bytes(plans, "notes");
    check_failure(bench, runtime_error, {plans, "not a plan file"});
}
