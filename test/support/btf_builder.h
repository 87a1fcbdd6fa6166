#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/uapi/btf.h"

namespace pepita::test {

/// Writes BTF, type after type; ids are given back. Nothing is checked, so that it can lie.
class BtfBuilder {
public:
    using Kind = abi::btf::Kind;

    /// Of a module: ids and strings go on from those of a kernel.
    explicit BtfBuilder(std::uint32_t first_id = 1, std::uint32_t first_string = 0)
        : next_id_(first_id), first_string_(first_string) {
        strings_.push_back('\0');
    }

    std::uint32_t integer(std::string_view name, std::uint32_t bytes) {
        const std::uint32_t id = type(name, Kind::Int, 0, bytes);
        put<std::uint32_t>(bytes * 8);
        return id;
    }
    /// A typedef, pointer, qualifier or the like.
    std::uint32_t other(Kind kind, std::string_view name, std::uint32_t of) {
        return type(name, kind, 0, of);
    }
    std::uint32_t array(std::uint32_t of, std::uint32_t count) {
        const std::uint32_t id = type("", Kind::Array, 0, 0);
        put(abi::btf::Array{.type = of, .index_type = of, .count = count});
        return id;
    }
    struct Member {
        std::string_view name;
        std::uint32_t type;
        std::uint32_t offset_bits;
        std::uint32_t bits = 0;
    };
    std::uint32_t structure(std::string_view name, std::uint32_t bytes,
                            const std::vector<Member>& members, Kind kind = Kind::Struct) {
        bool has_bits = false;
        for (const Member& member : members) {
            has_bits = has_bits || member.bits != 0;
        }
        const std::uint32_t id =
            type(name, kind, static_cast<std::uint32_t>(members.size()), bytes, has_bits);
        for (const Member& member : members) {
            put(abi::btf::Member{.name = string(member.name),
                                 .type = member.type,
                                 .offset = member.offset_bits | member.bits << 24U});
        }
        return id;
    }
    std::uint32_t enumeration(std::string_view enumerator, std::uint32_t value, bool is_signed) {
        const std::uint32_t id = type("", Kind::Enum, 1, 4, is_signed);
        put(abi::btf::Enumerator{.name = string(enumerator), .value = value});
        return id;
    }
    std::uint32_t enumeration64(std::string_view enumerator, std::uint64_t value) {
        const std::uint32_t id = type("", Kind::Enum64, 1, 8);
        put(abi::btf::Enumerator64{.name = string(enumerator),
                                   .value_low = static_cast<std::uint32_t>(value),
                                   .value_high = static_cast<std::uint32_t>(value >> 32U)});
        return id;
    }

    std::uint32_t next_id() const { return next_id_; }
    std::uint32_t next_string() const {
        return first_string_ + static_cast<std::uint32_t>(strings_.size());
    }

    std::string finish() const {
        const abi::btf::Header header{
            .magic = abi::btf::kMagic,
            .version = abi::btf::kVersion,
            .flags = 0,
            .header_length = sizeof(header),
            .types_offset = 0,
            .types_length = static_cast<std::uint32_t>(types_.size()),
            .strings_offset = static_cast<std::uint32_t>(types_.size()),
            .strings_length = static_cast<std::uint32_t>(strings_.size())};
        return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + types_ +
               strings_;
    }

private:
    template <typename T>
    void put(const T& value) {
        types_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    std::uint32_t string(std::string_view text) {
        if (text.empty()) {
            return 0;
        }
        const std::uint32_t at = next_string();
        strings_.append(text).push_back('\0');
        return at;
    }
    std::uint32_t type(std::string_view name, Kind kind, std::uint32_t count,
                       std::uint32_t size_or_type, bool flag = false) {
        put(abi::btf::Type{
            .name = string(name),
            .info = static_cast<std::uint32_t>(kind) << 24U | count | (flag ? 1U << 31U : 0U),
            .size_or_type = size_or_type});
        return next_id_++;
    }

    std::uint32_t next_id_;
    std::uint32_t first_string_;
    std::string types_;
    std::string strings_;
};

}  // namespace pepita::test
