#pragma once

#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"

namespace pepita::shim {

/// The files of the image's disk, in their order. The image is in use until the last copy of each
/// is closed, in whatever process. Errors: NotFound for a store or an image that is not there;
/// Unsupported for one of more files than a disk may have; ImageStore::use()'s.
Result<std::vector<Fd>> open_image_parts(const runtime::ImageRoot& image);

}  // namespace pepita::shim
