#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"

namespace pepita::cri {

/// Errors that name a member of a CRI message: "linux.resources.unified: why".
inline Error invalid(std::string_view member, std::string_view why) {
    return {Code::InvalidArgument, std::string(member).append(": ").append(why)};
}

inline Error unsupported(std::string_view member, std::string_view why) {
    return {Code::Unsupported, std::string(member).append(": ").append(why)};
}

/// "mounts[3]"
inline std::string element(std::string_view member, std::size_t index) {
    return std::string(member).append("[").append(std::to_string(index)).append("]");
}

/// Text that config.json can hold and the kernel does not cut.
inline Result<void> check_text(std::string_view member, std::string_view text) {
    if (text.contains('\0')) {
        return invalid(member, "must not contain NUL");
    }
    if (!is_utf8(text)) {
        return invalid(member, "must be UTF-8");
    }
    return {};
}

/// A path in the container.
inline Result<void> check_container_path(std::string_view member, std::string_view path) {
    if (!path.starts_with('/')) {
        return invalid(member, "must be an absolute path");
    }
    if (path.ends_with("/..") || path.contains("/../")) {
        return invalid(member, "must not contain '..'");
    }
    return check_text(member, path);
}

}  // namespace pepita::cri
