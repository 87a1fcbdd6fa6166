#pragma once

#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// A file for what a child says on standard error. It grows no further than 64 KiB: a child that
/// babbles is the guest's doing.
Result<Fd> message_file(const char* name);

/// The last line in it, which is where a program says why it gave up; "" where there is none.
std::string last_line(FdRef messages);

}  // namespace pepita::shim
