// Every reason why there is no GPU is one line that says what to do.
#include <doctest/doctest.h>

#include <string>

#include "engine/backend.h"
#include "engine/cuda/device_memory.h"
#include "engine/cuda/device_probe.h"
#include "engine/cuda/vendor.h"
#include "engine/error.h"

using namespace mlkd;
using doctest::Contains;

namespace {

bool says(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the driver's state in words") {
    const auto obstacle = [](int driver, cudaError_t status, int count, int ordinal = 0) {
        return cuda::driver_obstacle({.driver = driver, .runtime = 13000, .status = status, .count = count}, ordinal);
    };
    CHECK(obstacle(13000, cudaSuccess, 1) == "");
    CHECK(obstacle(13010, cudaSuccess, 2, 1) == "");
    CHECK(says(obstacle(0, cudaErrorInsufficientDriver, 0), "no NVIDIA driver is installed"));
    CHECK(says(obstacle(12040, cudaErrorInsufficientDriver, 0), "it serves CUDA 12.4, this program needs 13.0; update the driver"));
    CHECK(says(obstacle(13000, cudaErrorNoDevice, 0), "shows no GPU"));
    CHECK(says(obstacle(13000, cudaSuccess, 0), "shows no GPU"));
    CHECK(says(obstacle(13000, cudaErrorUnknown, 0), "the NVIDIA driver fails: "));
    CHECK(says(obstacle(13000, cudaSuccess, 2, 2), "there is no GPU 2: the driver shows 2"));
}

TEST_CASE("an allocation that fails says why") {
    CHECK(says(cuda::allocation_failure(cudaErrorMemoryAllocation, 64), "no GPU memory left for 64 bytes"));
    for (const cudaError_t status : {cudaErrorStreamCaptureUnsupported, cudaErrorLaunchFailure}) {
        CHECK_FALSE(says(cuda::allocation_failure(status, 64), "no GPU memory"));
        CHECK(says(cuda::allocation_failure(status, 64), "64 bytes"));
    }
    CHECK(says(cuda::allocation_failure(cudaErrorStreamCaptureUnsupported, 64), "while a graph is recorded"));
    CHECK(says(cuda::allocation_failure(cudaErrorLaunchFailure, 64), cudaGetErrorString(cudaErrorLaunchFailure)));
}

TEST_CASE("a library that is missing, or of another major version, is one clear error") {
    CHECK_THROWS_WITH_AS(cuda::load_library("libabsent.so.9", "install it"),
                         Contains("cannot load libabsent.so.9 (libabsent.so.9: cannot open"), Error);
    CHECK_THROWS_WITH_AS(cuda::load_library("libabsent.so.9", "install it"), Contains(": install it"), Error);
    CHECK(cuda::version_obstacle("cuDNN", 9, 9) == "");
    CHECK(says(cuda::version_obstacle("cuDNN", 8, 9), "cuDNN 8 was loaded, but this program needs version 9"));
}

TEST_CASE("no backend comes with a reason, a backend with none") {
    for (const int ordinal : {0, 1000}) {
        std::string why = "unset";
        const auto backend = make_cuda_backend({.ordinal = ordinal, .plan_file = ""}, why);
        CAPTURE(why);
        CHECK((backend == nullptr) == !why.empty());
        CHECK(why.find('\n') == std::string::npos);
        if (ordinal == 1000) CHECK(backend == nullptr);
    }
}
