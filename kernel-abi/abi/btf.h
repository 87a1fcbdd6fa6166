#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/btf.h"

namespace pepita::btf {

/// The types of a kernel or of one of its modules. The bytes are untrusted: nothing outside of them
/// is read, and each query ends soon. Thread: any, once parsed.
class Types {
public:
    using Id = std::uint32_t;

    /// A member's offset from the start of its struct and its size, in bits.
    struct Place {
        std::uint64_t offset_bits = 0;
        std::uint64_t size_bits = 0;
        friend bool operator==(const Place&, const Place&) = default;
    };

    /// Borrows `bytes` for the object's life, and `base`: the kernel's own types, whose ids and
    /// strings those of a module continue.
    /// Errors: DataLoss where the bytes are not what btf.rst describes.
    static Result<Types> parse(std::span<const std::byte> bytes, const Types* base = nullptr);

    /// A struct or union by its name.
    std::optional<Id> find(std::string_view name) const;

    /// Bytes of any type. Errors: DataLoss.
    Result<std::uint64_t> size_of(Id id) const;

    /// A member by its name, or by a path ("io.port"). Members of nameless structs and unions count
    /// as their parent's, as in C. Errors: NotFound; DataLoss.
    Result<Place> place_of(Id id, std::string_view path) const;

    /// The value of an enumerator of any enum, as 64 bits.
    std::optional<std::uint64_t> value_of(std::string_view enumerator) const;
    /// The same, without those of `base`.
    std::optional<std::uint64_t> own_value_of(std::string_view enumerator) const;

private:
    struct Step {
        Place place;
        Id type = 0;
    };
    Types() = default;
    Result<void> index();
    void index_enum(const abi::btf::Type& type, std::size_t body);
    std::optional<abi::btf::Type> header_of(Id id) const;
    std::optional<std::size_t> body_of(Id id) const;
    std::string_view text(std::uint32_t at) const;
    Result<Id> resolve(Id id) const;
    Result<std::uint64_t> array_size(Id id, int depth) const;
    Result<std::uint64_t> size_of(Id id, int depth) const;
    Result<std::optional<Step>> member(Id id, std::string_view name, int depth, int& budget) const;

    const Types* base_ = nullptr;
    std::span<const std::byte> types_;
    std::span<const std::byte> strings_;
    Id first_ = 1;                       // id of the first type here
    std::uint32_t first_string_ = 0;     // offset of the first string here
    std::vector<std::uint32_t> starts_;  // of each type, in types_
    std::unordered_map<std::string_view, Id> structs_;
    std::unordered_map<std::string_view, std::uint64_t> enumerators_;
};

}  // namespace pepita::btf
