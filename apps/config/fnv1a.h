#pragma once
// The hash FNV-1a of 64 bits (Fowler, Noll, Vo): tells different contents apart, not an attacker's.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mlkd {

class Fnv1a {
public:
    void add(std::span<const std::byte> bytes) {
        for (const std::byte b : bytes) hash_ = (hash_ ^ std::to_integer<std::uint64_t>(b)) * 0x100000001b3;
    }
    void add(std::string_view text) { add(std::as_bytes(std::span(text.data(), text.size()))); }
    std::string text() const { return fmt::format("{:016x}", hash_); }  // 16 hexadecimal digits

private:
    std::uint64_t hash_ = 0xcbf29ce484222325;
};

}  // namespace mlkd
