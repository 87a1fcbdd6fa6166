#include "vmm/device_set.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "storage/block_device.h"
#include "storage/file_device.h"
#include "storage/store_disk.h"
#include "storage/virtio_block.h"
#include "vmm/entropy/device.h"
#include "vmm/machine_config.h"
#include "vmm/vsock/device.h"
#include "vmm/vsock/muxer.h"

namespace pepita::vmm {
namespace {

Fd take(InheritedFd fd) { return Fd(std::to_underlying(fd)); }

Fd take(const std::optional<InheritedFd>& fd) { return fd ? take(*fd) : Fd(); }

Result<std::unique_ptr<storage::VirtioBlock>> make_disk(EventLoop& loop, const DiskConfig& disk) {
    if (disk.store) {
        return storage::VirtioBlock::create(
            loop, TRY(storage::make_store_disk(disk.store->size, take(disk.file))), disk.serial);
    }
    const auto access =
        disk.access == Access::ReadOnly ? storage::Access::ReadOnly : storage::Access::ReadWrite;
    return storage::VirtioBlock::create(
        loop, TRY(storage::FileDevice::create(take(disk.file), access, loop)), disk.serial);
}

Result<std::unique_ptr<vsock::VsockDevice>> make_vsock(EventLoop& loop, const VsockConfig& vsock) {
    vsock::Options options;
    options.guest_cid = vsock.guest_cid;
    options.guest_prefix = vsock.guest_prefix;
    return vsock::VsockDevice::create(loop, take(vsock.listener), std::move(options));
}

}  // namespace

Result<std::vector<ConfiguredDevice>> make_devices(EventLoop& loop, const MachineConfig& config) {
    std::vector<ConfiguredDevice> devices;
    for (const DiskConfig& disk : config.disks) {
        std::string name = "disk '" + disk.serial + "'";
        auto device = TRY(make_disk(loop, disk), name);
        devices.push_back({.name = std::move(name),
                           .device = std::move(device),
                           .front_end = take(disk.vhost_user)});
    }
    if (config.vsock) {
        devices.push_back({.name = "vsock",
                           .device = TRY(make_vsock(loop, *config.vsock), "vsock"),
                           .front_end = take(config.vsock->vhost_user)});
    }
    if (config.entropy) {
        devices.push_back({.name = "entropy",
                           .device = std::make_unique<Entropy>(loop),
                           .front_end = take(config.entropy->vhost_user)});
    }
    return devices;
}

}  // namespace pepita::vmm
