#include "kernel-abi/abi/btf.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/btf.h"

namespace pepita::btf {
namespace {

using abi::btf::Kind;

// Deeper than any type of a kernel: a deeper one refers to itself.
constexpr int kDepthMax = 32;
// Members of nameless members that one question looks at.
constexpr int kBudget = 65'536;
constexpr std::uint64_t kPointerSize = 8;
constexpr std::uint32_t kBitFieldShift = 24;

Error damaged(const std::string& why) { return {Code::DataLoss, "BTF: " + why}; }

/// The T at `offset`, nullopt if it is cut off.
template <typename T>
std::optional<T> at(std::span<const std::byte> bytes, std::size_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof(value));
    return value;
}

Kind kind_of(const abi::btf::Type& type) { return static_cast<Kind>(abi::btf::kind_of(type.info)); }

/// How many bytes follow a type's header.
Result<std::size_t> body_size(const abi::btf::Type& type) {
    const std::size_t count = abi::btf::count_of(type.info);
    switch (kind_of(type)) {
        case Kind::Struct:
        case Kind::Union:
        case Kind::DataSection:
        case Kind::Enum64:
            return count * 12;
        case Kind::Enum:
        case Kind::FunctionPrototype:
            return count * 8;
        case Kind::Array:
            return sizeof(abi::btf::Array);
        case Kind::Int:
        case Kind::Variable:
        case Kind::DeclarationTag:
            return std::size_t{4};
        case Kind::Pointer:
        case Kind::Forward:
        case Kind::Typedef:
        case Kind::Volatile:
        case Kind::Const:
        case Kind::Restrict:
        case Kind::Function:
        case Kind::Float:
        case Kind::TypeTag:
            return std::size_t{0};
    }
    return damaged("a type of the unknown kind " + std::to_string(abi::btf::kind_of(type.info)));
}

bool is_struct(Kind kind) { return kind == Kind::Struct || kind == Kind::Union; }

bool is_another_name(Kind kind) {
    return kind == Kind::Typedef || kind == Kind::Volatile || kind == Kind::Const ||
           kind == Kind::Restrict || kind == Kind::TypeTag;
}

bool has_own_size(Kind kind) {
    return is_struct(kind) || kind == Kind::Int || kind == Kind::Enum || kind == Kind::Enum64 ||
           kind == Kind::Float;
}

std::optional<std::span<const std::byte>> part(std::span<const std::byte> bytes,
                                               std::uint64_t offset, std::uint64_t length) {
    if (offset > bytes.size() || bytes.size() - offset < length) {
        return std::nullopt;
    }
    return bytes.subspan(offset, length);
}

}  // namespace

Result<Types> Types::parse(std::span<const std::byte> bytes, const Types* base) {
    const auto header = at<abi::btf::Header>(bytes, 0);
    if (!header || header->magic != abi::btf::kMagic) {
        return damaged("it does not begin with 0xeb9f");
    }
    if (header->version != abi::btf::kVersion || header->header_length < sizeof(*header)) {
        return damaged("version " + std::to_string(header->version) + " with a header of " +
                       std::to_string(header->header_length) + " B");
    }
    const std::uint64_t start = header->header_length;
    const auto types = part(bytes, start + header->types_offset, header->types_length);
    const auto strings = part(bytes, start + header->strings_offset, header->strings_length);
    if (!types || !strings) {
        return damaged("types or strings lie beyond its end");
    }
    Types made;
    made.types_ = *types;
    made.strings_ = *strings;
    if (base != nullptr) {
        made.base_ = base;
        made.first_ = base->first_ + static_cast<Id>(base->starts_.size());
        made.first_string_ =
            base->first_string_ + static_cast<std::uint32_t>(base->strings_.size());
    }
    TRY(made.index());
    return made;
}

Result<void> Types::index() {
    std::size_t offset = 0;
    while (offset < types_.size()) {
        const auto type = at<abi::btf::Type>(types_, offset);
        if (!type) {
            return damaged("the last type is cut off");
        }
        const std::size_t body = TRY(body_size(*type));
        if (types_.size() - offset - sizeof(*type) < body) {
            return damaged("the last type is cut off");
        }
        if (is_struct(kind_of(*type)) && type->name != 0) {
            structs_.try_emplace(text(type->name), first_ + static_cast<Id>(starts_.size()));
        }
        index_enum(*type, offset + sizeof(*type));
        starts_.push_back(static_cast<std::uint32_t>(offset));
        offset += sizeof(*type) + body;
    }
    return {};
}

void Types::index_enum(const abi::btf::Type& type, std::size_t body) {
    using abi::btf::Enumerator;
    using abi::btf::Enumerator64;
    const Kind kind = kind_of(type);
    const std::size_t count = abi::btf::count_of(type.info);
    for (std::size_t index = 0; kind == Kind::Enum && index < count; ++index) {
        if (const auto one = at<Enumerator>(types_, body + index * sizeof(Enumerator))) {
            // The flag says that it is signed.
            enumerators_.try_emplace(
                text(one->name),
                abi::btf::flag_of(type.info)
                    ? static_cast<std::uint64_t>(static_cast<std::int32_t>(one->value))
                    : one->value);
        }
    }
    for (std::size_t index = 0; kind == Kind::Enum64 && index < count; ++index) {
        if (const auto one = at<Enumerator64>(types_, body + index * sizeof(Enumerator64))) {
            enumerators_.try_emplace(text(one->name),
                                     std::uint64_t{one->value_high} << 32U | one->value_low);
        }
    }
}

std::string_view Types::text(std::uint32_t offset) const {
    if (offset < first_string_) {
        return base_ == nullptr ? std::string_view() : base_->text(offset);
    }
    const std::size_t from = std::min<std::size_t>(offset - first_string_, strings_.size());
    const std::string_view rest(reinterpret_cast<const char*>(strings_.data()) + from,
                                strings_.size() - from);
    return rest.substr(0, rest.find('\0'));
}

std::optional<std::size_t> Types::body_of(Id id) const {
    if (id < first_ || id - first_ >= starts_.size()) {
        return std::nullopt;
    }
    return starts_[id - first_] + sizeof(abi::btf::Type);
}

std::optional<abi::btf::Type> Types::header_of(Id id) const {
    if (id < first_ && base_ != nullptr) {
        return base_->header_of(id);
    }
    const auto body = body_of(id);
    return body ? at<abi::btf::Type>(types_, *body - sizeof(abi::btf::Type)) : std::nullopt;
}

std::optional<Types::Id> Types::find(std::string_view name) const {
    const auto found = structs_.find(name);
    if (found != structs_.end()) {
        return found->second;
    }
    return base_ == nullptr ? std::nullopt : base_->find(name);
}

// The type without typedefs and qualifiers.
Result<Types::Id> Types::resolve(Id id) const {
    for (int depth = 0; depth < kDepthMax; ++depth) {
        const auto type = header_of(id);
        if (!type) {
            return damaged("there is no type " + std::to_string(id));
        }
        if (!is_another_name(kind_of(*type))) {
            return id;
        }
        id = type->size_or_type;
    }
    return damaged("type " + std::to_string(id) + " is made of itself");
}

Result<std::uint64_t> Types::array_size(Id id, int depth) const {
    if (id < first_ && base_ != nullptr) {
        return base_->array_size(id, depth);
    }
    const auto array = at<abi::btf::Array>(types_, body_of(id).value_or(types_.size()));
    if (!array) {
        return damaged("there is no array " + std::to_string(id));
    }
    const std::uint64_t each = TRY(size_of(array->type, depth + 1));
    if (array->count != 0 && each > std::numeric_limits<std::uint32_t>::max() / array->count) {
        return damaged("array " + std::to_string(id) + " is larger than memory");
    }
    return each * array->count;
}

Result<std::uint64_t> Types::size_of(Id id) const { return size_of(id, 0); }

Result<std::uint64_t> Types::size_of(Id id, int depth) const {
    if (depth > kDepthMax) {
        return damaged("type " + std::to_string(id) + " is made of itself");
    }
    const Id bare = TRY(resolve(id));
    const auto type = header_of(bare);
    if (!type) {
        return damaged("there is no type " + std::to_string(bare));
    }
    const Kind kind = kind_of(*type);
    if (kind == Kind::Pointer) {
        return kPointerSize;
    }
    if (kind == Kind::Array) {
        return array_size(bare, depth);
    }
    if (!has_own_size(kind)) {
        return damaged("type " + std::to_string(id) + " has no size");
    }
    return std::uint64_t{type->size_or_type};
}

Result<std::optional<Types::Step>> Types::member(Id id, std::string_view name, int depth,
                                                 int& budget) const {
    if (id < first_ && base_ != nullptr) {
        return base_->member(id, name, depth, budget);
    }
    const auto type = header_of(id);
    const auto body = body_of(id);
    if (!type || !body || !is_struct(kind_of(*type)) || depth > kDepthMax) {
        return std::optional<Step>();
    }
    const std::size_t count = abi::btf::count_of(type->info);
    for (std::size_t index = 0; index < count; ++index) {
        const auto one = at<abi::btf::Member>(types_, *body + index * sizeof(abi::btf::Member));
        if (!one || --budget < 0) {
            return damaged("type " + std::to_string(id) + " has too many members");
        }
        const bool has_bits = abi::btf::flag_of(type->info);
        const std::uint32_t bits = has_bits ? one->offset >> kBitFieldShift : 0;
        const std::uint64_t offset =
            has_bits ? one->offset & ((1U << kBitFieldShift) - 1) : one->offset;
        if (one->name != 0) {
            if (text(one->name) == name) {
                const std::uint64_t size = bits != 0 ? bits : TRY(size_of(one->type)) * 8;
                return std::optional(
                    Step{.place = {.offset_bits = offset, .size_bits = size}, .type = one->type});
            }
            continue;
        }
        // A nameless struct or union: its members are this one's.
        std::optional<Step> inner = TRY(member(TRY(resolve(one->type)), name, depth + 1, budget));
        if (inner) {
            inner->place.offset_bits += offset;
            return inner;
        }
    }
    return std::optional<Step>();
}

Result<Types::Place> Types::place_of(Id id, std::string_view path) const {
    Place place;
    int budget = kBudget;
    std::string_view rest = path;
    while (true) {
        const std::string_view name = rest.substr(0, rest.find('.'));
        const Id bare = TRY(resolve(id));
        const std::optional<Step> step = TRY(member(bare, name, 0, budget));
        if (!step) {
            return Error(Code::NotFound, "no member '" + std::string(path) + "'");
        }
        place.offset_bits += step->place.offset_bits;
        place.size_bits = step->place.size_bits;
        if (name.size() == rest.size()) {
            return place;
        }
        rest.remove_prefix(name.size() + 1);
        id = step->type;
    }
}

std::optional<std::uint64_t> Types::value_of(std::string_view enumerator) const {
    const auto own = own_value_of(enumerator);
    return own || base_ == nullptr ? own : base_->value_of(enumerator);
}

std::optional<std::uint64_t> Types::own_value_of(std::string_view enumerator) const {
    const auto found = enumerators_.find(enumerator);
    return found == enumerators_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace pepita::btf
