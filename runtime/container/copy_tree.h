#pragma once

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// Copies what is in the directory `from` into the directory `to`: directories, files, symbolic
/// links, fifos and device nodes with owners, modes, extended attributes and times; hard links
/// become files of their own, sockets are left out. Follows no link. Both may be open as O_PATH.
/// Errors: name the entry; FailedPrecondition where directories nest deeper than kCopyDepthMax.
/// Then a part is there.
Result<void> copy_tree(FdRef from, FdRef to);

inline constexpr int kCopyDepthMax = 64;

}  // namespace pepita::runtime::container
