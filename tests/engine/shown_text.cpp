#include "engine/text/shown_text.h"

#include <doctest/doctest.h>

#include <map>
#include <string>

using namespace mlkd;

TEST_CASE("shown text: printable text stays, the rest is escaped") {
    CHECK(shown("") == "");
    CHECK(shown("KD, T = 4: 'it''s' \"%s\" {} @x_1^2~") == "KD, T = 4: 'it''s' \"%s\" {} @x_1^2~");
    CHECK(shown("caf\u00e9 \u2192 \U0001f600") == "caf\u00e9 \u2192 \U0001f600");
    CHECK(shown("a\\n") == "a\\\\n");
    CHECK(shown("a\nb\tc\rd") == "a\\nb\\tc\\rd");
    CHECK(shown("\x1b[31mred\x07") == "\\x1b[31mred\\x07");
    CHECK(shown(std::string_view("\0\x7f", 2)) == "\\x00\\x7f");
    CHECK(shown("caf\xe9") == "caf\\xe9");
    CHECK(shown("\xc3") == "\\xc3");                           // cut off
    CHECK(shown("\xc0\xaf") == "\\xc0\\xaf");                  // overlong '/'
    CHECK(shown("\xed\xa0\x80") == "\\xed\\xa0\\x80");         // a surrogate
    CHECK(shown("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
    CHECK(shown("\u009b" "0m") == "\\xc2\\x9b" "0m");          // the one-byte form of ESC [
    CHECK(shown("a\u202eb") == "a\\xe2\\x80\\xaeb");           // writes backwards
    CHECK(shown("\xe9\x41") == "\\xe9" "A");                   // the byte after a broken character is not swallowed
}

TEST_CASE("shown text: different bytes look different, and the result is UTF-8 without control characters") {
    std::map<std::string, std::string> seen;
    const std::string bytes = std::string("\0\n\r\x1b\\nx01\xc3\xa9\xe2\x80\xae\xff", 16);
    for (const char a : bytes)
        for (const char b : bytes)
            for (const char c : bytes)
                for (const char d : bytes) {
                    const std::string text{a, b, c, d}, out = shown(text);
                    const auto [place, fresh] = seen.emplace(out, text);
                    if (!fresh && place->second != text) FAIL(out);
                    if (!is_utf8(out) || out.find_first_of(std::string("\0\n\r\x1b", 4)) != std::string::npos) FAIL(out);
                }
}

TEST_CASE("shown text: UTF-8 is told from what is not") {
    for (const char* text : {"", "a", "\u00e9", "\u20ac", "\U0010ffff"}) CHECK(is_utf8(text));
    for (const char* text : {"\xe9", "\xc3(", "\xe2\x82", "\xf8\x88\x80\x80\x80", "\xe0\x80\xaf", "\xed\xbf\xbf", "a\x80"}) CHECK(!is_utf8(text));
}

TEST_CASE("shown text: in quotes, of a long text both ends and the length") {
    CHECK(in_quotes("a\"b") == "\"a\"b\"");
    const std::string one = std::string(200, 'x') + "1", other = std::string(200, 'x') + "2";
    CHECK(in_quotes(one).size() < 150);
    CHECK(in_quotes(one) != in_quotes(other));
    CHECK(in_quotes(one).ends_with("1\" (201 bytes)"));
}
