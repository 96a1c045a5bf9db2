// Both ways through the official safetensors library, where the project's Python environment has been set up.
#include <doctest/doctest.h>

#include <cstdlib>
#include <vector>

#include "engine/files/safetensors.h"
#include "tests/support/python.h"
#include "tests/support/sources.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;

TEST_CASE("safetensors: the official library reads our files and writes the same bytes") {
    const std::filesystem::path root = test::sources();
    const std::string python = (root / ".venv/bin/python").string();
    if (!test::python_has(python, "safetensors.numpy")) {
        MESSAGE("skipped: no safetensors in " << python);
        return;
    }
    // The same values are computed by the script.
    SafetensorsFile file;
    file.metadata["model"] = "resnet8x4 \"ü\"";
    std::vector<float> weights(3 * 2 * 5 * 1);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i) / 7 - 2;
    std::vector<double> doubles(7);
    for (std::size_t i = 0; i < doubles.size(); ++i) doubles[i] = 1.0 / static_cast<double>(i + 1);
    std::vector<std::int64_t> longs = {-9223372036854775807, 0, 9223372036854775807};
    std::vector<std::int32_t> ints = {-5, 5};
    std::vector<std::uint8_t> bytes = {0, 1, 255};
    const std::vector<std::int64_t> scalar = {42};
    file.tensors["layer1.0.conv1.weight"] = HostTensor::of<float>({3, 2, 5, 1}, weights);
    file.tensors["fc.bias"] = HostTensor::of<float>({6, 5}, weights);
    file.tensors["doubles"] = HostTensor::of<double>({7}, doubles);
    file.tensors["longs"] = HostTensor::of<std::int64_t>({3, 1}, longs);
    file.tensors["ints"] = HostTensor::of<std::int32_t>({2}, ints);
    file.tensors["bytes"] = HostTensor::of<std::uint8_t>({3}, bytes);
    file.tensors["bn1.num_batches_tracked"] = HostTensor::of<std::int64_t>({}, scalar);
    file.tensors["empty"] = HostTensor::zeros(DType::f32, {0, 3});

    const test::TemporaryFolder folder;
    write_safetensors(folder / "ours", file);
    const std::string command =
        python + " " + (root / "tests/python/check_safetensors.py").string() + " " + (folder / "ours") + " " + (folder / "theirs");
    REQUIRE(std::system(command.c_str()) == 0);
    CHECK(test::read_bytes(folder / "ours") == test::read_bytes(folder / "theirs"));
    CHECK(read_safetensors(folder / "theirs").tensor("longs").as<std::int64_t>()[2] == 9223372036854775807);
}
