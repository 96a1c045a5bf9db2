#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

struct Character {
    char32_t point = 0;
    std::size_t bytes = 0;  // 0: no UTF-8
};

// The character that a text which is not empty begins with.
Character first_character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return {first, 1};
    const std::size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() < bytes) return {};
    char32_t point = first & (0x7fu >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        point = point << 6 | (byte(i) & 0x3fu);
    }
    constexpr char32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least[bytes] || surrogate || point > 0x10ffff ? Character{} : Character{point, bytes};
}

// Control characters, line separators, and characters without a width of their own that change how their neighbours look.
bool is_unsafe(char32_t point) {
    const auto within = [point](char32_t first, char32_t last) { return first <= point && point <= last; };
    return point < 0x20 || within(0x7f, 0x9f) || point == 0xad || point == 0x61c || within(0x200b, 0x200f) || within(0x2028, 0x202e) ||
           within(0x2060, 0x206f) || point == 0xfeff || within(0xfff9, 0xfffb) || within(0xe0000, 0xe007f);
}

void append_escaped(std::string& out, char c) {
    constexpr const char* digits = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    out += '\\';
    switch (c) {
        case '\\': out += '\\'; break;
        case '\n': out += 'n'; break;
        case '\t': out += 't'; break;
        case '\r': out += 'r'; break;
        default: ((out += 'x') += digits[byte >> 4]) += digits[byte & 15];
    }
}

}  // namespace

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t bytes = first_character(text).bytes;
        if (bytes == 0) return false;
        text.remove_prefix(bytes);
    }
    return true;
}

std::string shown(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const Character character = first_character(text);
        const std::string_view bytes = text.substr(0, character.bytes == 0 ? 1 : character.bytes);
        if (character.bytes == 0 || is_unsafe(character.point) || character.point == '\\')
            for (const char c : bytes) append_escaped(out, c);
        else
            out += bytes;
        text.remove_prefix(bytes.size());
    }
    return out;
}

std::string in_quotes(std::string_view text) {
    constexpr std::size_t longest = 120, end = 20;
    std::string out = "\"";
    if (text.size() <= longest) return (out += text) += '"';
    ((out += text.substr(0, longest - end)) += "...") += text.substr(text.size() - end);
    return out + "\" (" + std::to_string(text.size()) + " bytes)";
}

}  // namespace mlkd
