#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pepita {

/// The length of the UTF-8 character at the front of `text`, 1 to 4; 0 if there is none: text is
/// empty, a form that is not the shortest, a surrogate, above U+10FFFF, or no UTF-8 at all.
/// Source: RFC 3629 §4.
std::size_t utf8_character(std::string_view text);

/// Whether all of `text` is UTF-8.
bool is_utf8(std::string_view text);

/// Text of a peer, a file or a guest, fit for one line of a terminal and for a protobuf string:
/// control characters and bytes that are no UTF-8 are written as \x1b.
std::string printable(std::string_view text);

}  // namespace pepita
