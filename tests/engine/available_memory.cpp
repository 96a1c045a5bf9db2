#include "engine/machine/available_memory.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "engine/backend.h"
#include "engine/error.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
namespace fs = std::filesystem;

TEST_CASE("available memory is the system's, or the control group's where that is less") {
    const test::TemporaryFolder root;
    CHECK(!available_memory(root.path()));
    fs::create_directories(root / "proc/self");
    test::write_bytes(root / "proc/meminfo", "MemTotal:       9000 kB\nMemFree:  10 kB\nMemAvailable:    3000 kB\n");
    CHECK(available_memory(root.path()) == 3000u * 1024);
    test::write_bytes(root / "proc/self/cgroup", "1:name=systemd:/other\n0::/a/b\n");
    fs::create_directories(root / "sys/fs/cgroup/a/b");
    const std::string group = root / "sys/fs/cgroup/a/b";
    test::write_bytes(group + "/memory.current", "700000\n");
    test::write_bytes(group + "/memory.max", "max\n");
    CHECK(available_memory(root.path()) == 3000u * 1024);
    test::write_bytes(group + "/memory.max", "1000000\n");
    CHECK(available_memory(root.path()) == 300000);
    test::write_bytes(group + "/memory.stat", "anon 5\ninactive_file 100000\n");
    CHECK(available_memory(root.path()) == 400000);
    test::write_bytes(group + "/memory.max", "10\n");
    CHECK(available_memory(root.path()) == 0);
    CHECK(available_memory().value_or(1) > 0);
}

TEST_CASE("a block beyond the available memory is refused before it is touched") {
    const auto left = available_memory();
    if (!left) return;
    const auto backend = make_cpu_backend();
    // Less than the machine has, so that the system itself would promise it.
    CHECK_THROWS_WITH_AS(backend->allocate(*left + (std::size_t{256} << 20)), doctest::Contains("GiB are left"), Error);
}
