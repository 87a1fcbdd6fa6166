#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace pepita::runtime::oci {

/// Whether `names` has `name`.
bool is_one_of(std::string_view name, std::span<const std::string_view> names);

/// Names that OCI configurations use for numbers of Linux (x86-64).

/// "CAP_SYS_ADMIN" to 21. Source: Linux include/uapi/linux/capability.h.
std::optional<std::uint32_t> capability_number(std::string_view name);
std::optional<std::string_view> capability_name(std::uint32_t number);
std::span<const std::string_view> capability_names();

/// "RLIMIT_NOFILE" to 7. Source: Linux include/uapi/asm-generic/resource.h.
std::optional<std::uint32_t> rlimit_number(std::string_view name);
std::optional<std::string_view> rlimit_name(std::uint32_t number);

/// A mount option that is a flag of mount(2).
struct MountFlag {
    std::string_view name;
    unsigned long set;
    unsigned long clear;
};
std::span<const MountFlag> mount_flags();

/// The option of a tmpfs that begins with a copy of what it is mounted over, as for runc.
inline constexpr std::string_view kCopyUp = "tmpcopyup";

}  // namespace pepita::runtime::oci
