#include "engine/machine/gpu_present.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "tests/support/temporary_folder.h"

using namespace mlkd;

TEST_CASE("a GPU is present where its driver shows one") {
    for (const char* path : {"dev/nvidia0", "dev/nvidia12", "dev/dxg", "proc/driver/nvidia/gpus/0000:01:00.0"}) {
        CAPTURE(path);
        const test::TemporaryFolder root;
        CHECK_FALSE(gpu_present(root.path()));
        std::filesystem::create_directories(root / path);
        CHECK(gpu_present(root.path()));
    }
    // A driver without a GPU, and another maker's.
    for (const char* path : {"dev/nvidiactl", "dev/nvidia", "dev/nvidia-uvm", "dev/nvidia0x", "dev/dri/card0", "proc/driver/nvidia/gpus"}) {
        CAPTURE(path);
        const test::TemporaryFolder root;
        std::filesystem::create_directories(root / path);
        CHECK_FALSE(gpu_present(root.path()));
    }
}
