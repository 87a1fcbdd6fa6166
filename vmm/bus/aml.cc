#include "vmm/bus/aml.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "kernel-abi/sys/check.h"

namespace pepita::vmm::aml {
namespace {

void append(Term& to, std::span<const std::byte> bytes) {
    to.insert(to.end(), bytes.begin(), bytes.end());
}

Term bytes_of(std::initializer_list<unsigned> values) {
    Term term;
    for (const unsigned value : values) {
        term.push_back(static_cast<std::byte>(value));
    }
    return term;
}

void append_number(Term& to, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        to.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
}

Term joined(std::initializer_list<Term> terms) {
    Term all;
    for (const Term& term : terms) {
        append(all, term);
    }
    return all;
}

/// §20.2.4: the length counts its own bytes. Above 63, the low 4 bits stand in the first byte.
Term with_length(const Term& opcode, const Term& body) {
    Term term = opcode;
    if (body.size() + 1 < 64) {
        append_number(term, body.size() + 1, 1);
    } else {
        const unsigned extra = body.size() + 2 < 4096 ? 1 : 2;
        const std::uint64_t length = body.size() + 1 + extra;
        CHECK(length < 1U << 20U);
        append_number(term, (extra << 6U) | (length & 0xfU), 1);
        append_number(term, length >> 4U, extra);
    }
    append(term, body);
    return term;
}

/// §20.2.2
Term name_string(std::string_view path) {
    Term term;
    if (path.starts_with('\\')) {
        append_number(term, '\\', 1);
        path.remove_prefix(1);
    }
    Term segments;
    unsigned count = 0;
    while (!path.empty()) {
        const std::string_view segment = path.substr(0, path.find('.'));
        CHECK(!segment.empty());
        CHECK(segment.size() <= 4);
        for (std::size_t i = 0; i < 4; ++i) {
            append_number(segments,
                          static_cast<unsigned char>(i < segment.size() ? segment[i] : '_'), 1);
        }
        path.remove_prefix(std::min(segment.size() + 1, path.size()));
        ++count;
    }
    if (count == 2) {
        append_number(term, 0x2e, 1);
    } else if (count > 2) {
        append_number(term, 0x2f, 1);
        append_number(term, count, 1);
    } else if (count == 0) {
        append_number(term, 0, 1);
    }
    append(term, segments);
    return term;
}

unsigned hex_digit(char c) {
    const std::size_t digit =
        std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
    CHECK(digit != std::string_view::npos);
    return static_cast<unsigned>(digit);
}

/// §6.4.3.5: an address window of `width` bytes per number; minimum and maximum are fixed.
Term window(unsigned tag, unsigned type, unsigned type_flags, unsigned width, std::uint64_t start,
            std::uint64_t size) {
    Term term;
    append_number(term, tag, 1);
    append_number(term, 3 + std::uint64_t{5} * width, 2);
    append_number(term, type, 1);
    append_number(term, 0x0c, 1);
    append_number(term, type_flags, 1);
    for (const std::uint64_t number :
         {std::uint64_t{0}, start, start + size - 1, std::uint64_t{0}, size}) {
        append_number(term, number, width);
    }
    return term;
}

}  // namespace

Term integer(std::uint64_t value) {
    struct Form {
        unsigned prefix;
        unsigned size;
    };
    if (value <= 1) {
        return bytes_of({static_cast<unsigned>(value)});
    }
    Form form{.prefix = 0x0e, .size = 8};
    if (value <= 0xff) {
        form = {.prefix = 0x0a, .size = 1};
    } else if (value <= 0xffff) {
        form = {.prefix = 0x0b, .size = 2};
    } else if (value <= 0xffff'ffff) {
        form = {.prefix = 0x0c, .size = 4};
    }
    Term term = bytes_of({form.prefix});
    append_number(term, value, form.size);
    return term;
}

Term string(std::string_view text) {
    Term term = bytes_of({0x0d});
    append(term, std::as_bytes(std::span(text)));
    append_number(term, 0, 1);
    return term;
}

Term buffer(std::span<const std::byte> bytes) {
    Term body = integer(bytes.size());
    append(body, bytes);
    return with_length(bytes_of({0x11}), body);
}

Term package(Terms elements) {
    return with_length(bytes_of({0x12}), joined({bytes_of({static_cast<unsigned>(elements.size())}),
                                                 joined(elements)}));
}

Term name(std::string_view path, const Term& value) {
    return joined({bytes_of({0x08}), name_string(path), value});
}

Term scope(std::string_view path, Terms body) {
    return with_length(bytes_of({0x10}), joined({name_string(path), joined(body)}));
}

Term device(std::string_view path, Terms body) {
    return with_length(bytes_of({0x5b, 0x82}), joined({name_string(path), joined(body)}));
}

Term method(std::string_view path, unsigned arguments, Terms body) {
    return with_length(bytes_of({0x14}),
                       joined({name_string(path), bytes_of({arguments}), joined(body)}));
}

Term argument(unsigned index) { return bytes_of({0x68 + index}); }

Term is_equal(const Term& a, const Term& b) { return joined({bytes_of({0x93}), a, b}); }

Term if_true(const Term& condition, Terms body) {
    return with_length(bytes_of({0xa0}), joined({condition, joined(body)}));
}

Term give_back(const Term& value) { return joined({bytes_of({0xa4}), value}); }

Term eisa_id(std::string_view id) {
    CHECK(id.size() == 7);
    const auto letter = [id](std::size_t i) { return static_cast<std::uint32_t>(id[i] - '@'); };
    const std::uint32_t maker = (letter(0) << 10U) | (letter(1) << 5U) | letter(2);
    Term term = bytes_of({0x0c, maker >> 8U, maker & 0xffU});
    append_number(term, (hex_digit(id[3]) << 4U) | hex_digit(id[4]), 1);
    append_number(term, (hex_digit(id[5]) << 4U) | hex_digit(id[6]), 1);
    return term;
}

Term uuid(std::string_view text) {
    // Which character pair of the text each byte comes from (ACPI 6.5 §19.6.151).
    constexpr std::array<std::size_t, 16> pairs = {6,  4,  2,  0,  11, 9,  16, 14,
                                                   19, 21, 24, 26, 28, 30, 32, 34};
    CHECK(text.size() == 36);
    Term bytes;
    for (const std::size_t pair : pairs) {
        append_number(bytes, (hex_digit(text[pair]) << 4U) | hex_digit(text[pair + 1]), 1);
    }
    return buffer(bytes);
}

Term resources(Terms descriptors) {
    return buffer(joined({joined(descriptors), bytes_of({0x79, 0x00})}));
}

Term bus_numbers(std::uint16_t first, std::uint16_t last) {
    return window(0x88, 2, 0, 2, first, std::uint64_t{last} - first + 1);
}

Term memory_window_32(std::uint32_t start, std::uint32_t size) {
    return window(0x87, 0, 1, 4, start, size);
}

Term memory_window_64(std::uint64_t start, std::uint64_t size) {
    return window(0x8a, 0, 1, 8, start, size);
}

Term fixed_memory_32(std::uint32_t start, std::uint32_t size) {
    Term term = bytes_of({0x86, 9, 0, 1});  // read and write
    append_number(term, start, 4);
    append_number(term, size, 4);
    return term;
}

Term io_ports(std::uint16_t start, std::uint8_t count) {
    Term term = bytes_of({0x47, 1});  // 16-bit decode
    append_number(term, start, 2);
    append_number(term, start, 2);
    return joined({term, bytes_of({1, count})});
}

Term edge_interrupt(std::uint32_t number) {
    Term term = bytes_of({0x89, 6, 0, 0x03, 1});
    append_number(term, number, 4);
    return term;
}

}  // namespace pepita::vmm::aml
