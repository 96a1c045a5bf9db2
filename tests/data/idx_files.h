#pragma once
// Files in the IDX format, plain and gzip.
#include <doctest/doctest.h>
#include <zlib.h>

#include <cstdint>
#include <string>

namespace mlkd::test {

inline std::string big_endian(std::uint32_t value) {
    return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8), static_cast<char>(value)};
}

inline std::string idx_images(std::uint32_t count, std::uint32_t side = 28) {
    std::string bytes = std::string("\0\0\x08\x03", 4) + big_endian(count) + big_endian(side) + big_endian(side);
    for (std::uint32_t i = 0; i < count * side * side; ++i) bytes += static_cast<char>(i % 251 + 1);
    return bytes;
}

inline std::string idx_labels(std::uint32_t count) {
    std::string bytes = std::string("\0\0\x08\x01", 4) + big_endian(count);
    for (std::uint32_t i = 0; i < count; ++i) bytes += static_cast<char>(i % 10);
    return bytes;
}

inline void write_gzip(const std::string& path, const std::string& bytes) {
    gzFile file = gzopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
    REQUIRE(gzclose(file) == Z_OK);
}

}  // namespace mlkd::test
