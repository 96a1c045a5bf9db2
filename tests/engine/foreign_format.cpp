#include "engine/files/foreign_format.h"

#include <doctest/doctest.h>

#include <vector>

#include "engine/files/safetensors.h"
#include "engine/text/nearest.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;

namespace {

std::string zip_of(const std::string& name) {
    return std::string("PK\x03\x04") + std::string(22, '\0') + static_cast<char>(name.size()) + std::string(3, '\0') + name + "content";
}

}  // namespace

TEST_CASE("foreign formats are told by their first bytes") {
    std::string tar(512, '\0');
    tar.replace(257, 5, "ustar");
    const std::vector<std::pair<std::string, const char*>> files = {
        {zip_of("resnet/data.pkl"), "PyTorch checkpoint (zip)"},
        {zip_of("weights.npy"), "npz"},
        {zip_of("readme.txt"), "zip archive"},
        {"PK\x03\x04", "zip archive"},
        {std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 14), "PyTorch checkpoint (pickle)"},
        {std::string("\x80\x04\x95", 3), "Python pickle"},
        {"\x89HDF\r\n\x1a\n....", "HDF5"},
        {std::string("\x08\x07\x12\x07pytorch", 11), "ONNX"},
        {"\x1f\x8b\x08 and more", "gzip"},
        {tar, "tar"},
        {"\x93NUMPY\x01", "NumPy array"},
        {"\x89PNG\r\n\x1a\n", "PNG"},
        {"{\"solver\": 1}", "--config"},
        {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
        {"<!DOCTYPE html>", "web page"}};
    const test::TemporaryFolder folder;
    for (const auto& [bytes, expected] : files) {
        CAPTURE(expected);
        CHECK(foreign_format(bytes).starts_with("is "));
        CHECK(foreign_format(bytes).find(expected) != std::string::npos);
        test::write_bytes(folder / "file", bytes + std::string(64, '.'));
        CHECK_THROWS_WITH(read_safetensors(folder / "file"), doctest::Contains(expected));
    }
    for (const char* unknown : {"", "x", "some text of no format", "\x01\x02\x03\x04"}) CHECK(foreign_format(unknown).empty());
}

TEST_CASE("a header's length that looks like a signature does not make a file foreign") {
    const test::TemporaryFolder folder;
    const std::string path = folder / "file";
    SafetensorsFile file;
    file.tensors["x"] = HostTensor::zeros(DType::f32, {3});
    for (const std::size_t length : {0x8b1fu, 0x5a42u + 0x680000u}) {  // gzip's, bzip2's first bytes
        file.metadata.clear();
        write_safetensors(path, file);
        std::string bytes = test::read_bytes(path);
        std::string header = bytes.substr(8, static_cast<unsigned char>(bytes[0]));
        header.append(length - header.size(), ' ');
        std::string lengths(8, '\0');
        for (std::size_t i = 0; i < 8; ++i) lengths[i] = static_cast<char>(length >> (8 * i));
        test::write_bytes(path, lengths + header + std::string(12, '\0'));
        CHECK(read_safetensors(path).tensors.size() == 1);
    }
}

TEST_CASE("the nearest word is one that is close") {
    const std::vector<std::string> known = {"kd", "mlkd", "mlkd_official", "none"};
    CHECK(nearest("mlkd_offical", known) == "mlkd_official");
    CHECK(nearest("MLKD", known) == "mlkd");
    CHECK(nearest("mlkdd", known) == "mlkd");
    CHECK(nearest("KD_ours", known).empty());
    CHECK(nearest("something else", known).empty());
    CHECK(nearest("", known).empty());
    CHECK(nearest("resnet18", {"resnet14", "resnet110"}).empty());
    CHECK(nearest("ResNet-110", {"resnet14", "resnet110"}) == "resnet110");
    CHECK(nearest("kd", {}).empty());
    CHECK(did_you_mean("nnone", known, "'") == "; did you mean 'none'?");
    CHECK(did_you_mean("frobenius", known).empty());
}
