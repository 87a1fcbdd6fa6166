#include "shim/image_parts.h"

#include <fcntl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"
#include "storage/digest.h"
#include "storage/image_store.h"
#include "vmm/device_config.h"

namespace pepita::shim {

Result<std::vector<Fd>> open_image_parts(const runtime::ImageRoot& image) {
    const std::string where = "image store '" + image.store + "'";
    const storage::Digest id = TRY(storage::parse_digest(image.id), "image '", image.id, "'");
    // A store that is not there would be made.
    (void)TRY(open_file(image.store.c_str(), O_PATH | O_DIRECTORY), where);
    const auto store = TRY(storage::ImageStore::open(image.store), where);
    std::vector<Fd> parts = TRY(store->use(id), where).parts;
    constexpr std::size_t most = vmm::DiskConfig::kPartsMax;
    if (parts.size() > most) {
        return Error(Code::Unsupported, "image " + image.id + ": a disk of " +
                                            std::to_string(parts.size()) + " files; it may have " +
                                            std::to_string(most));
    }
    return parts;
}

}  // namespace pepita::shim
