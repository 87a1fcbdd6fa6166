#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <tuple>
#include <utility>

#include "kernel-abi/abi/layouts.h"

// How a table of layouts is written, for layouts*.cc alone. Each number is stated once and checked
// twice: the compiler compares it with our definition, compare() with the kernel's.
namespace pepita::abi_check {

template <std::size_t Count>
struct Layout {
    std::string_view name;
    std::size_t size;
    Length length;
    std::array<ExpectedMember, Count> members;
};

// Macros, because offsetof is one. `linux_name` is "" where Linux has no such type.
#define LAYOUT(type, linux_name, bytes, ...) \
    TABLE(type, linux_name, bytes, bytes, Exact, __VA_ARGS__)
/// Linux's type may end later: after `at_least` bytes or more.
#define BEGINNING(type, linux_name, bytes, at_least, ...) \
    TABLE(type, linux_name, bytes, at_least, AtLeast, __VA_ARGS__)
#define TABLE(type, linux_name, bytes, linux_bytes, how_long, ...) \
    [] {                                                           \
        using Ours = type;                                         \
        static_assert(sizeof(Ours) == (bytes));                    \
        constexpr std::array members{__VA_ARGS__};                 \
        return Layout<members.size()>{.name = (linux_name),        \
                                      .size = (linux_bytes),       \
                                      .length = Length::how_long,  \
                                      .members = members};         \
    }()

/// A member that has the same name in Linux.
#define AT(member, at, bytes) PLACE(member, #member, at, bytes, 0, 0)
/// One that has another: a path, or several with '|' between where kernels differ.
#define AS(member, linux_name, at, bytes) PLACE(member, linux_name, at, bytes, 0, 0)
/// One that kernels before this version may lack.
#define SINCE(member, at, bytes, from_major, from_minor) \
    PLACE(member, #member, at, bytes, from_major, from_minor)
/// One that is not compared with the kernel's: Linux has no name for it, or other members there in
/// other versions.
#define OURS(member, at, bytes) PLACE(member, "", at, bytes, 0, 0)
#define PLACE(member, linux_name, at, bytes, since_major, since_minor)                    \
    [] {                                                                                  \
        static_assert(offsetof(Ours, member) == (at));                                    \
        static_assert(sizeof(std::declval<Ours>().member) == (bytes));                    \
        return ExpectedMember{.name = (linux_name),                                       \
                              .offset = (at),                                             \
                              .size = (bytes),                                            \
                              .since = {.major = (since_major), .minor = (since_minor)}}; \
    }()

/// The table as compare() takes it. `layouts` has static storage.
template <typename... Layouts>
consteval auto types_of(const std::tuple<Layouts...>& layouts) {
    return std::apply(
        [](const auto&... one) {
            return std::array{ExpectedType{.name = one.name,
                                           .size = one.size,
                                           .length = one.length,
                                           .members = one.members}...};
        },
        layouts);
}

template <typename... Each>
consteval std::array<ExpectedEnumerator, sizeof...(Each)> enumerators(Each... each) {
    return {each...};
}

}  // namespace pepita::abi_check
