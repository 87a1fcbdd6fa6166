#include "kernel-abi/sys/utf8.h"

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace pepita {
namespace {

/// A row of RFC 3629 §4: characters whose first byte is at most `first_max` (and above the row
/// before) have `size` bytes, the second of them within these bounds, the others 0x80 to 0xbf.
struct Form {
    unsigned char first_max;
    std::size_t size;  // 0: no character begins so
    unsigned char second_min;
    unsigned char second_max;
};

constexpr std::array kForms{
    Form{.first_max = 0x7f, .size = 1, .second_min = 0, .second_max = 0},
    Form{.first_max = 0xc1, .size = 0, .second_min = 0, .second_max = 0},
    Form{.first_max = 0xdf, .size = 2, .second_min = 0x80, .second_max = 0xbf},
    Form{.first_max = 0xe0, .size = 3, .second_min = 0xa0, .second_max = 0xbf},
    Form{.first_max = 0xec, .size = 3, .second_min = 0x80, .second_max = 0xbf},
    Form{.first_max = 0xed, .size = 3, .second_min = 0x80, .second_max = 0x9f},
    Form{.first_max = 0xef, .size = 3, .second_min = 0x80, .second_max = 0xbf},
    Form{.first_max = 0xf0, .size = 4, .second_min = 0x90, .second_max = 0xbf},
    Form{.first_max = 0xf3, .size = 4, .second_min = 0x80, .second_max = 0xbf},
    Form{.first_max = 0xf4, .size = 4, .second_min = 0x80, .second_max = 0x8f},
    Form{.first_max = 0xff, .size = 0, .second_min = 0, .second_max = 0}};

unsigned char byte_at(std::string_view text, std::size_t index) {
    return static_cast<unsigned char>(text[index]);
}

const Form& form_of(unsigned char first) {
    const Form* form = kForms.data();
    while (form->first_max < first) {
        ++form;
    }
    return *form;
}

}  // namespace

std::size_t utf8_character(std::string_view text) {
    if (text.empty()) {
        return 0;
    }
    const Form& form = form_of(byte_at(text, 0));
    if (form.size > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < form.size; ++i) {
        const unsigned char least = i == 1 ? form.second_min : 0x80;
        const unsigned char most = i == 1 ? form.second_max : 0xbf;
        if (byte_at(text, i) < least || byte_at(text, i) > most) {
            return 0;
        }
    }
    return form.size;
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t size = utf8_character(text);
        if (size == 0) {
            return false;
        }
        text.remove_prefix(size);
    }
    return true;
}

std::string printable(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const std::size_t size = utf8_character(text);
        const unsigned char byte = byte_at(text, 0);
        if (size == 0 || byte < ' ' || byte == 0x7f) {
            out.append("\\x").append(1, hex[byte >> 4U]).append(1, hex[byte & 0xfU]);
            text.remove_prefix(1);
        } else {
            out.append(text.substr(0, size));
            text.remove_prefix(size);
        }
    }
    return out;
}

}  // namespace pepita
