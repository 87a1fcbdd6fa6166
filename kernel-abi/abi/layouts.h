#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel-abi/uapi/version.h"

namespace pepita::abi_check {

// What our own definitions (kernel-abi/uapi) say, under the names that Linux has for it.

struct ExpectedMember {
    std::string_view name;  // a path; where kernels differ, names with '|' between
    std::size_t offset;     // bytes
    std::size_t size;
    abi::Version since = {};  // where set, an older kernel may lack it
};

enum class Length : std::uint8_t {
    Exact,
    AtLeast,  // Linux's goes on behind what we use of it, or ends in a flexible array
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
    abi::Version since = {};
};

std::span<const ExpectedType> io_uring_types();
std::span<const ExpectedType> kvm_types();
std::span<const ExpectedType> ublk_types();
std::span<const ExpectedType> virtio_types();

/// All of them.
std::span<const ExpectedType> expected_types();
std::span<const ExpectedEnumerator> expected_enumerators();

}  // namespace pepita::abi_check
