#pragma once

#include <array>

namespace pepita::runtime {

// Programs of the distribution that pods need, where they are.

/// The first that is there is used.
inline constexpr std::array kVirtiofsd{"/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd",
                                       "/usr/lib/virtiofsd"};
inline constexpr const char* kMkfsErofs = "/usr/bin/mkfs.erofs";
inline constexpr const char* kMkfsExt4 = "/usr/sbin/mkfs.ext4";

}  // namespace pepita::runtime
