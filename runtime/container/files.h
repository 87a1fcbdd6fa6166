#pragma once

#include <string>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// Errors of all of these name the path.

Result<std::string> read_all(FdRef fd, const std::string& path);
Result<std::string> read_file(const std::string& path);

/// Writes `text` with one write(2), as the kernel's own files want it.
Result<void> write_file(const std::string& path, std::string_view text);

/// mkdir(2); one that exists is fine.
Result<void> make_directory(const std::string& path);

}  // namespace pepita::runtime::container
