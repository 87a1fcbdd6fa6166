#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "kernel-abi/abi/layouts.h"

// How a table of layouts is written. For layouts*.cc alone.
namespace pepita::abi_check {

/// A type that is never made; its members' sizes are asked for.
template <typename T>
T& some();

// A macro, because offsetof is one: our member, and Linux's name for it.
#define MEMBER(type, ours, linux_name)                                                          \
    ExpectedMember {                                                                            \
        .name = (linux_name), .offset = offsetof(type, ours), .size = sizeof(some<type>().ours) \
    }
#define SAME(type, name) MEMBER(type, name, #name)
#define SINCE(type, member, major, minor)                                                       \
    ExpectedMember {                                                                            \
        .name = #member, .offset = offsetof(type, member), .size = sizeof(some<type>().member), \
        .since = abi::linux_version(major, minor)                                               \
    }

template <typename T>
constexpr ExpectedType whole(std::string_view name, std::span<const ExpectedMember> members) {
    return {.name = name, .size = sizeof(T), .length = Length::Exact, .members = members};
}
constexpr ExpectedType start_of(std::string_view name, std::size_t size,
                                std::span<const ExpectedMember> members) {
    return {.name = name, .size = size, .length = Length::AtLeast, .members = members};
}

}  // namespace pepita::abi_check
