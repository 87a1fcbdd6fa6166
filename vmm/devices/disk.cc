#include "vmm/devices/disk.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/options.h"
#include "storage/block_device.h"
#include "storage/concatenation.h"
#include "storage/file_device.h"
#include "storage/store_disk.h"
#include "storage/virtio_block.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"

namespace pepita::vmm {
namespace {

/// "read-only".
struct AccessFlag {
    static Result<void> parse(Access& into, std::string_view /*none*/) {
        into = Access::ReadOnly;
        return {};
    }
    static void print(Access from, std::vector<std::string>& values) {
        if (from == Access::ReadOnly) {
            values.emplace_back();
        }
    }
};

using StoreSize = runtime::Mebibytes<runtime::to_mebibytes(DiskConfig::kStoreMin),
                                     runtime::to_mebibytes(DiskConfig::kStoreMax)>;

constexpr auto kRules = device_rules(std::to_array<DeviceRule>({
    kind_option<DiskConfig, &DiskConfig::access, AccessFlag>(
        {.name = "read-only", .occurs = runtime::Occurs::Once}),
    kind_option<DiskConfig, &DiskConfig::store, runtime::Maybe<StoreSize>>(
        {.name = "store", .value_name = "MIB", .occurs = runtime::Occurs::Once}),
}));

Result<void> parse(DeviceConfig& device, std::string_view fields) {
    TRY(parse_fields<kRules>(device, fields));
    const auto& disk = std::get<DiskConfig>(device.kind);
    if (disk.store && disk.access == Access::ReadOnly) {
        return Error(Code::InvalidArgument, "'store' is for a disk that is written");
    }
    if (device.fds.size() > 1 && disk.access != Access::ReadOnly) {
        return Error(Code::InvalidArgument, "a disk of several files must be 'read-only'");
    }
    return {};
}

Result<MadeDevice> make_file(DeviceConfig& device, Access access,
                             const DeviceSurroundings& around) {
    auto file = TRY(storage::FileDevice::create(
        std::move(device.fds[0].fd),
        access == Access::ReadOnly ? storage::Access::ReadOnly : storage::Access::ReadWrite,
        around.files));
    auto block = TRY(storage::VirtioBlock::create(around.loop, std::move(file), device.id));
    auto resize = [&disk = *block](std::optional<Bytes> size) -> Result<void> {
        if (size) {
            return Error(Code::InvalidArgument, "the disk is as large as its file");
        }
        return disk.resized();
    };
    return MadeDevice{.device = std::move(block), .resize = std::move(resize)};
}

// Its files do not change.
Result<MadeDevice> make_concatenation(DeviceConfig& device, const DeviceSurroundings& around) {
    std::vector<Fd> files;
    files.reserve(device.fds.size());
    for (NumberedFd& part : device.fds) {
        files.push_back(std::move(part.fd));
    }
    auto disk = TRY(storage::concatenate_files(std::move(files), around.files));
    return MadeDevice{
        .device = TRY(storage::VirtioBlock::create(around.loop, std::move(disk), device.id)),
        .resize = {}};
}

// The size of a store is a quota that its memory was limited for.
Result<MadeDevice> make_store(DeviceConfig& device, Bytes size, const DeviceSurroundings& around) {
    auto store = TRY(storage::make_store_disk(size, std::move(device.fds[0].fd)));
    return MadeDevice{
        .device = TRY(storage::VirtioBlock::create(around.loop, std::move(store), device.id)),
        .resize = {}};
}

Result<MadeDevice> make(DeviceConfig& device, const DeviceSurroundings& around) {
    const DiskConfig disk = std::get<DiskConfig>(device.kind);
    if (device.fds.size() > 1) {
        return make_concatenation(device, around);
    }
    return disk.store ? make_store(device, *disk.store, around)
                      : make_file(device, disk.access, around);
}

}  // namespace

constinit const DeviceKindRow kDiskKind = {.name = "disk",
                                           .fds = 1,
                                           .more_fds = DiskConfig::kPartsMax - 1,
                                           .qemu_device = "vhost-user-blk-pci,num-queues=1",
                                           .qemu_options = nullptr,
                                           .qemu_netdev = nullptr,
                                           .defaults = default_kind<DiskConfig>,
                                           .parse = parse,
                                           .print = print_fields<kRules>,
                                           .make = make};

}  // namespace pepita::vmm
