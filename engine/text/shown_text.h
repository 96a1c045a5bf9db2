#pragma once
// Text from outside (file names, labels, metadata, configuration values) as one line that is safe to print.
#include <string>
#include <string_view>

namespace mlkd {

// Whether the bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates).
bool is_utf8(std::string_view text);

// Printable characters as they are; control characters, marks that hide or reorder other text, and bytes that are no UTF-8 as
// \n, \t, \r or \xNN, a backslash as two. Different texts stay different.
std::string shown(std::string_view text);

// "text", not yet escaped: an error's message is, as a whole, where it is printed. Of a long one both ends and its length.
std::string in_quotes(std::string_view text);

}  // namespace mlkd
