#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace pepita::abi_check {

// What our own definitions (kernel-abi/uapi) say, under the names that Linux has for it.

/// A version of Linux.
struct Version {
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    friend constexpr auto operator<=>(const Version&, const Version&) = default;
};

struct ExpectedMember {
    std::string_view
        name;            // a path; where kernels differ, names with '|' between; or "": ours only
    std::size_t offset;  // bytes
    std::size_t size;
    Version since = {};  // where set, an older kernel may lack it
};

enum class Length : std::uint8_t {
    Exact,
    AtLeast,  // Linux's type has more members than we use, or ends in a flexible array
};

struct ExpectedType {
    std::string_view name;
    std::size_t size;
    Length length;
    std::span<const ExpectedMember> members;
};

struct ExpectedEnumerator {
    std::string_view name;
    std::uint64_t value;
};

std::span<const ExpectedType> io_uring_types();
std::span<const ExpectedEnumerator> io_uring_enumerators();
std::span<const ExpectedType> kvm_types();
std::span<const ExpectedType> ublk_types();
std::span<const ExpectedType> vhost_user_types();
std::span<const ExpectedType> virtio_types();

/// All that Linux has too.
std::vector<ExpectedType> expected_types();
std::vector<ExpectedEnumerator> expected_enumerators();

}  // namespace pepita::abi_check
