#include "storage/store_disk.h"

#include <sys/mman.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram_device.h"
#include "storage/zram_store.h"

namespace pepita::storage {
// What cannot be packed takes 8/7 of its size, because a frame of 32 KiB has room for seven such
// pages and a head; tables and indexes take a hundredth. The rest of the quarter, and the four MiB,
// are for frames that are not full: pages go to 16 parts of the store by their hash, which are
// never equally full. It is a limit, and no reservation.
Bytes store_limit(Bytes size) { return size + Bytes(size.value() / 4) + 4_MiB; }

Result<std::unique_ptr<storage::BlockDevice>> make_store_disk(Bytes size, Fd base) {
    Fd memory(::memfd_create("store", MFD_CLOEXEC));
    if (!memory) {
        return Error::from_errno(errno, "memfd_create");
    }
    const auto store = TRY(storage::ZramStore::create(std::move(memory), store_limit(size)));
    auto volume = TRY(store->create_volume(
        {.name = "disk", .capacity = Pages(size.value() / kPageSize.value())}));
    TRY(storage::copy_into(*volume, base.ref()), "copy what it begins with");
    return std::unique_ptr<storage::BlockDevice>(
        std::make_unique<storage::ZramDevice>(std::move(volume)));
}

}  // namespace pepita::storage
