#pragma once

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

/// A file of `size` zeros in no directory, to be mapped shared by several processes: on a tmpfs of
/// its own with huge pages, where the caller may mount one (CAP_SYS_ADMIN), else a memfd, which
/// hosts as they come give no huge pages and which is 6 to 15 times slower to touch.
/// Cost: 0.2 ms. Errors: memfd_create(2)'s, ftruncate(2)'s.
Result<Fd> create_memory_file(const char* name, Bytes size);

}  // namespace pepita
