#pragma once

#include <cstdint>

/// BPF Type Format: what types a kernel was built with. Sources: Linux Documentation/bpf/btf.rst;
/// include/uapi/linux/btf.h (4.18; kinds 14 and 15 with 5.2, 16 with 5.13, 17 with 5.16, 18 with
/// 5.17, 19 with 6.0).
namespace pepita::abi::btf {

inline constexpr std::uint16_t kMagic = 0xeb9f;
inline constexpr std::uint8_t kVersion = 1;

struct Header {
    std::uint16_t magic;
    std::uint8_t version;
    std::uint8_t flags;
    std::uint32_t header_length;
    std::uint32_t types_offset;  // from the header's end, as that of the strings
    std::uint32_t types_length;
    std::uint32_t strings_offset;
    std::uint32_t strings_length;
};

/// What every type begins with; ids count from 1 in the order of the file, 0 is void.
struct Type {
    std::uint32_t name;          // where in the strings
    std::uint32_t info;          // kind, count of what follows, and a flag
    std::uint32_t size_or_type;  // bytes, or the id of another type
};

constexpr std::uint32_t kind_of(std::uint32_t info) { return info >> 24U & 0x1fU; }
constexpr std::uint32_t count_of(std::uint32_t info) { return info & 0xffffU; }
constexpr bool flag_of(std::uint32_t info) { return info >> 31U != 0; }

enum class Kind : std::uint32_t {
    Int = 1,
    Pointer = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Forward = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Function = 12,
    FunctionPrototype = 13,
    Variable = 14,
    DataSection = 15,
    Float = 16,
    DeclarationTag = 17,
    TypeTag = 18,
    Enum64 = 19,
};

/// Of a struct or union.
struct Member {
    std::uint32_t name;
    std::uint32_t type;
    std::uint32_t offset;  // in bits; with the type's flag 24 bits, and 8 of a bit field's size
};

struct Array {
    std::uint32_t type;
    std::uint32_t index_type;
    std::uint32_t count;
};

struct Enumerator {
    std::uint32_t name;
    std::uint32_t value;
};

struct Enumerator64 {
    std::uint32_t name;
    std::uint32_t value_low;
    std::uint32_t value_high;
};

}  // namespace pepita::abi::btf
