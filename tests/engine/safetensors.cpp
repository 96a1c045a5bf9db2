#include "engine/files/safetensors.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "tests/support/sources.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using test::read_bytes;
using test::TemporaryFolder;
using test::write_bytes;

namespace {

template <class T> HostTensor tensor_of(std::vector<std::int64_t> shape, std::initializer_list<T> values) {
    return HostTensor::of<T>(std::move(shape), std::span<const T>(values.begin(), values.size()));
}

SafetensorsFile sample() {
    SafetensorsFile file;
    file.tensors["bytes"] = tensor_of<std::uint8_t>({3}, {0, 127, 255});
    file.tensors["layer1.0.conv1.weight"] = tensor_of<float>({1, 2, 1, 2}, {0.1f, -0.0f, 1e-42f, 3.4e38f});
    file.tensors["a \"quoted\" name\nof two lines"] = tensor_of<std::int32_t>({2, 1}, {-1, 2147483647});
    file.tensors["double"] = tensor_of<double>({1}, {std::nextafter(1.0, 2.0)});
    file.tensors["step"] = tensor_of<std::int64_t>({}, {std::numeric_limits<std::int64_t>::min()});
    file.tensors["empty"] = HostTensor::zeros(DType::f32, {4, 0, 2});
    file.tensors["half"] = HostTensor::zeros(DType::bf16, {5});
    file.tensors["half"].bytes[3] = std::byte{0x3f};
    file.metadata["model"] = "resnet8x4";
    file.metadata["note"] = "ünïcode, \"quotes\" and \\";
    return file;
}

void check_same(const SafetensorsFile& a, const SafetensorsFile& b) {
    CHECK(a.metadata == b.metadata);
    REQUIRE(a.tensors.size() == b.tensors.size());
    for (const auto& [name, tensor] : a.tensors) {
        CAPTURE(name);
        REQUIRE(b.tensors.count(name) == 1);
        const HostTensor& other = b.tensors.at(name);
        CHECK(tensor.dtype == other.dtype);
        CHECK(tensor.shape == other.shape);
        CHECK(tensor.bytes == other.bytes);
    }
}

std::string with_length(std::uint64_t length, const std::string& rest) {
    std::string out(8, '\0');
    std::memcpy(out.data(), &length, 8);
    return out + rest;
}

// What is said of a file of these bytes, without the path.
std::string failure(const std::string& bytes) {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_bytes(path, bytes);
    try {
        read_safetensors(path);
    } catch (const Error& error) {
        const std::string message = error.what();
        CHECK(message.starts_with(path + ": "));
        CHECK(message.size() < 400);
        return message.substr(std::min(message.size(), path.size() + 2));
    }
    return "no failure";
}

std::string failure_of_header(const std::string& header, std::size_t data_bytes = 0) {
    return failure(with_length(header.size(), header + std::string(data_bytes, 'd')));
}

}  // namespace

TEST_CASE("safetensors: what is written is read back") {
    const TemporaryFolder folder;
    const std::string path = folder / "file.safetensors";
    write_safetensors(path, sample());
    check_same(sample(), read_safetensors(path));
    CHECK(folder.entries() == 1);

    const std::string bytes = read_bytes(path);
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), 8);
    CHECK(header_bytes % 8 == 0);
    CHECK(bytes[8] == '{');

    write_safetensors(folder / "again", read_safetensors(path));
    CHECK(read_bytes(folder / "again") == bytes);
}

TEST_CASE("safetensors: an empty file of tensors, and one without metadata") {
    const TemporaryFolder folder;
    write_safetensors(folder / "none", {});
    check_same({}, read_safetensors(folder / "none"));
    CHECK(read_bytes(folder / "none") == with_length(8, "{}      "));
}

TEST_CASE("safetensors: the bytes of a known file") {
    const TemporaryFolder folder;
    SafetensorsFile file;
    file.tensors["b"] = tensor_of<std::uint8_t>({2}, {7, 9});
    file.tensors["c"] = tensor_of<float>({1}, {1.0f});
    file.metadata["k"] = "v";
    write_safetensors(folder / "file", file);
    std::string header = R"({"__metadata__":{"k":"v"},"c":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                         R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})";
    header.append((8 - header.size() % 8) % 8, ' ');
    CHECK(read_bytes(folder / "file") == with_length(header.size(), header + std::string("\0\0\x80\x3f\7\t", 6)));
}

TEST_CASE("safetensors: typed access is checked") {
    const SafetensorsFile file = sample();
    CHECK(file.tensor("double").as<double>()[0] == std::nextafter(1.0, 2.0));
    CHECK(file.tensor("layer1.0.conv1.weight").as<float>().size() == 4);
    CHECK(file.tensor("step").elements() == 1);
    CHECK_THROWS_WITH_AS(file.tensor("double").as<float>(), "host tensor: asked for f32 of a tensor of f64", Error);
    CHECK_THROWS_WITH_AS(file.tensor("triple"), "no tensor \"triple\"", Error);
    CHECK(file.meta("model") == "resnet8x4");
    CHECK_THROWS_WITH_AS(file.meta("epoch"), "no metadata \"epoch\"", Error);
    CHECK_THROWS_AS((HostTensor::of<float>({3}, std::vector<float>(2))), Error);
    CHECK_THROWS_AS(HostTensor::zeros(DType::f32, {-1}), Error);
}

TEST_CASE("safetensors: content that cannot be written is refused, and no file appears") {
    const TemporaryFolder folder;
    SafetensorsFile file;
    file.tensors["x"] = tensor_of<float>({1}, {1.0f});
    file.tensors["x"].shape = {2};
    CHECK_THROWS_AS(write_safetensors(folder / "file", file), Error);
    file.tensors["x"].shape = {1};
    file.metadata["bad"] = "\xff";
    CHECK_THROWS_WITH_AS(write_safetensors(folder / "file", file),
                         ((folder / "file") + ": cannot write: a name or a metadata string is not UTF-8").c_str(), Error);
    CHECK(folder.entries() == 0);
    CHECK_THROWS_AS(write_safetensors(folder / "no/file", {}), Error);
}

TEST_CASE("safetensors: the reference files, byte for byte, and through a round trip") {
    int files = 0;
    const TemporaryFolder folder;
    for (const auto& entry : std::filesystem::directory_iterator(test::reference_values())) {
        if (entry.path().extension() != ".safetensors") continue;
        CAPTURE(entry.path().string());
        const SafetensorsFile file = read_safetensors(entry.path().string());
        const std::string original = read_bytes(entry.path().string());
        std::uint64_t header_bytes = 0;
        std::memcpy(&header_bytes, original.data(), 8);
        const nlohmann::json header = nlohmann::json::parse(original.substr(8, header_bytes));
        REQUIRE(header.size() == file.tensors.size() + 1);
        CHECK(header["__metadata__"] == nlohmann::json(file.metadata));
        for (const auto& [name, tensor] : file.tensors) {
            CAPTURE(name);
            CHECK(header[name]["shape"] == nlohmann::json(tensor.shape));
            const std::size_t begin = header[name]["data_offsets"][0], end = header[name]["data_offsets"][1];
            REQUIRE(tensor.bytes.size() == end - begin);
            CHECK(std::memcmp(tensor.bytes.data(), original.data() + 8 + header_bytes + begin, end - begin) == 0);
        }
        write_safetensors(folder / "copy", file);
        check_same(file, read_safetensors(folder / "copy"));
        ++files;
    }
    if (files == 0) MESSAGE("skipped: no reference files in " << test::reference_values().string());
}

TEST_CASE("safetensors: files that are not there, or not files") {
    const TemporaryFolder folder;
    CHECK_THROWS_WITH_AS(read_safetensors(folder / "none"), ((folder / "none") + ": No such file or directory").c_str(), Error);
    CHECK_THROWS_WITH_AS(read_safetensors(folder.path()), (folder.path() + ": it is a folder").c_str(), Error);
    CHECK_THROWS_WITH_AS(read_safetensors("/dev/zero"), "/dev/zero: it is not a regular file", Error);
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK_THROWS_WITH_AS(read_safetensors(folder / "pipe"), ((folder / "pipe") + ": it is not a regular file").c_str(), Error);
}

TEST_CASE("safetensors: every damaged form is named") {
    CHECK(failure("") == "the file is empty");
    CHECK(failure("abc") == "truncated: 3 bytes are too few for a safetensors file");
    CHECK(failure(with_length(0, "")) == "not a safetensors file (its header is no JSON object)");
    CHECK(failure(with_length(100, "{}")) == "truncated: the header has 100 bytes, the file 10");
    CHECK(failure(with_length(100'000'001, "{}")) == "not a safetensors file (header length 100000001, at most 100000000)");
    CHECK(failure(with_length(~std::uint64_t{0}, "{}")).starts_with("not a safetensors file (header length 18446744073709551615"));
    CHECK(failure("PK\3\4 a zip of few bytes").starts_with("is a zip archive"));
    CHECK(failure("any other text, as long").starts_with("not a safetensors file (header length"));
    CHECK(failure_of_header("[]") == "not a safetensors file (its header is no JSON object)");
    CHECK(failure_of_header("{\"a\":") == "damaged header: not JSON at byte 6");
    CHECK(failure_of_header("{} x") == "damaged header: not JSON at byte 4");
    CHECK(failure_of_header("{\"\xff\":1}").starts_with("damaged header: not JSON at byte"));
    CHECK(failure_of_header(std::string("{}\0\0", 4)).starts_with("damaged header: not JSON at byte"));
    CHECK(failure_of_header("{\"a\":" + std::string(100'000, '[')) == "damaged header: nested too deeply");
    CHECK(failure_of_header(R"({"__metadata__":[]})") == "damaged header: __metadata__ is not an object");
    CHECK(failure_of_header(R"({"__metadata__":{"k":1}})") == "damaged header: metadata \"k\" is not a string");
    CHECK(failure_of_header(R"({"a":1})") == "damaged header: tensor \"a\" lacks a proper dtype, shape or data_offsets");
    CHECK(failure_of_header(R"({"a\nb":{"dtype":"F32"}})") ==
          "damaged header: tensor \"a\nb\" lacks a proper dtype, shape or data_offsets");
    CHECK(failure_of_header(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0]}})").starts_with("damaged header: tensor \"a\" lacks"));
    CHECK(failure_of_header(R"({")" + std::string(5000, 'n') + R"(":1})").starts_with("damaged header: tensor \"nnn"));
}

TEST_CASE("safetensors: element types, shapes and offsets that cannot be") {
    const auto header = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
        return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
    };
    CHECK(failure_of_header(header("F32", "[2]", "[0,8]"), 8) == "no failure");
    CHECK(failure_of_header(header("F16", "[2]", "[0,4]"), 4) ==
          "tensor \"a\" has element type \"F16\"; known are F32, F64, BF16, U8, I32, I64");
    CHECK(failure_of_header(header("f32", "[2]", "[0,8]"), 8).starts_with("tensor \"a\" has element type \"f32\""));
    CHECK(failure_of_header(header("F32", "[3]", "[0,8]"), 8) ==
          "damaged header: tensor \"a\" of F32 and shape (3) cannot have 8 bytes");
    CHECK(failure_of_header(header("F32", "[-2]", "[0,8]"), 8) ==
          "damaged header: the shape of tensor \"a\" has an entry that is not a count");
    CHECK(failure_of_header(header("F32", "[2.0]", "[0,8]"), 8).ends_with("has an entry that is not a count"));
    CHECK(failure_of_header(header("F32", "[\"2\"]", "[0,8]"), 8).ends_with("has an entry that is not a count"));
    CHECK(failure_of_header(header("F32", "[18446744073709551615]", "[0,8]"), 8).ends_with("has an entry that is not a count"));
    // 2^62 elements of 4 bytes are 0 bytes modulo 2^64.
    CHECK(failure_of_header(header("F32", "[4611686018427387904]", "[0,0]")).find("cannot have 0 bytes") != std::string::npos);
    CHECK(failure_of_header(header("F32", "[4294967296,4294967296]", "[0,0]")).find("cannot have 0 bytes") != std::string::npos);
    CHECK(failure_of_header(header("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 8) ==
          "truncated: tensor \"a\" ends at byte 9223372036854775807 of the data, which has 8");
    CHECK(failure_of_header(header("F32", "[2]", "[8,0]"), 8) == "damaged header: data_offsets of tensor \"a\" run backwards");
    CHECK(failure_of_header(header("F32", "[2]", "[0,8]"), 7) == "truncated: tensor \"a\" ends at byte 8 of the data, which has 7");
    CHECK(failure_of_header(header("F32", "[2]", "[0,8]"), 9) == "1 bytes after the last tensor belong to none");
    CHECK(failure_of_header(header("F32", "[2]", "[4,12]"), 12) == "damaged header: a hole before tensor \"a\"");
    CHECK(failure_of_header("{}", 3) == "3 bytes after the last tensor belong to none");

    const auto two = [](const std::string& first, const std::string& second) {
        return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first + R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" +
               second + "}}";
    };
    CHECK(failure_of_header(two("[4,8]", "[0,4]"), 8) == "no failure");
    CHECK(failure_of_header(two("[0,4]", "[2,6]"), 8) == "damaged header: tensor \"b\" overlaps the tensor before it");
    CHECK(failure_of_header(two("[0,4]", "[0,4]"), 8) == "damaged header: tensor \"b\" overlaps the tensor before it");
    CHECK(failure_of_header(two("[0,4]", "[5,9]"), 9) == "damaged header: a hole before tensor \"b\"");
    CHECK(
        failure_of_header(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})") ==
        "damaged header: \"a\" occurs twice");
    CHECK(failure_of_header(R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})") ==
          "damaged header: \"dtype\" occurs twice");
}

TEST_CASE("safetensors: every truncation of a good file, and every flipped header byte, is an error or a file, never a crash") {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_safetensors(path, sample());
    const std::string good = read_bytes(path);
    for (std::size_t length = 0; length < good.size(); ++length) {
        CAPTURE(length);
        CHECK(failure(good.substr(0, length)) != "no failure");
    }
    for (std::size_t position = 0; position < good.size(); ++position) {
        for (const char flip : {'\x01', '\x20', '\x7f'}) {
            std::string bytes = good;
            bytes[position] = static_cast<char>(bytes[position] ^ flip);
            failure(bytes);
        }
    }
}
