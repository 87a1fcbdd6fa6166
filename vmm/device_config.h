#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

/// A descriptor, and the number that stands for it in a line of text: the number in the process
/// that reads a command line, or the place among the descriptors that came with a control line.
struct NumberedFd {
    static constexpr int kNumberMax = 1'048'575;
    int number = -1;
    Fd fd;
};

enum class Access : std::uint8_t { ReadWrite, ReadOnly };

/// virtio-blk. One descriptor: a raw file or block device; or several, of files that one after the
/// other are a disk that is ReadOnly. The guest sees the device's id as the disk's serial number.
struct DiskConfig {
    static constexpr std::size_t kPartsMax = 250;  // they go in one message
    static constexpr Bytes kStoreMin = 1_MiB;
    static constexpr Bytes kStoreMax{std::uint64_t{64} << 30U};
    Access access = Access::ReadWrite;
    /// Written pages are kept in a compressed store of pepita-vmm's own; the disk has this size
    /// (whole MiB), begins as the file, which may be shorter and is never written, and is
    /// ReadWrite.
    std::optional<Bytes> store;
};

/// virtio-vsock with Firecracker's protocol on the host's side. One descriptor: a listening socket
/// where clients send "CONNECT <port>\n".
struct VsockConfig {
    static constexpr std::uint32_t kCidMin = 3;  // 0 to 2 have meanings
    static constexpr std::uint32_t kCidMax = 0xffff'fffe;
    static constexpr std::size_t kPrefixMax = 90;  // with "_4294967295" still a sockaddr_un path
    std::uint32_t guest_cid = kCidMin;
    /// A guest that connects to host port N reaches the unix socket "<guest_prefix>_N", a path
    /// relative to pepita-vmm's working directory.
    std::string guest_prefix;
};

/// virtio-rng. No descriptor.
struct EntropyConfig {};

/// virtio-net. A descriptor for each queue of a tap, which has a header of 12 bytes in front of
/// each frame (IFF_VNET_HDR, TUNSETVNETHDRSZ); each makes a queue pair.
struct NetConfig {
    static constexpr std::size_t kQueuePairsMax = 8;
    static constexpr std::uint64_t kMtuMin = 68;  // virtio 1.2 §5.1.4.1
    static constexpr std::uint64_t kMtuMax = 65535;
    static constexpr std::uint64_t kRateMax = std::uint64_t{1} << 40U;
    std::array<std::uint8_t, 6> mac{};
    std::optional<std::uint16_t> mtu;  // nullopt: the driver's own
    /// Limits towards the guest and from it, in bytes per second.
    std::optional<std::uint64_t> rx_rate;
    std::optional<std::uint64_t> tx_rate;
};

/// virtio-fs. One descriptor: a connected vhost-user socket of the server, virtiofsd. In a machine
/// of QEMU's, QEMU itself is its front end, and pepita-vmm has no such device.
struct FsConfig {
    static constexpr std::size_t kTagMax = 36;  // of virtio_fs_config
    std::string tag;                            // by which the guest mounts it
};

/// The list of kinds. What else there is of a kind: vmm/devices/.
using DeviceKind = std::variant<DiskConfig, VsockConfig, EntropyConfig, NetConfig, FsConfig>;

/// One device: what it is, and the descriptors that it owns.
struct DeviceConfig {
    static constexpr std::size_t kIdMax = 20;                      // VIRTIO_BLK_ID_BYTES
    static constexpr std::size_t kFdsMax = DiskConfig::kPartsMax;  // of all kinds

    std::string id;  // 1 to kIdMax of [A-Za-z0-9._-], unique in its machine
    DeviceKind kind;
    std::vector<NumberedFd> fds;  // as many as the kind takes
    /// A connected vhost-user front end that drives the device, or a listening socket, whose first
    /// client is it. Absent: the device is on our PCI bus.
    std::optional<NumberedFd> front_end;
};

/// "disk,id=root,fd=6,read-only"; a device that serves a front end has "vhost-user=9" too.
std::string to_text(const DeviceConfig& device);

/// The reverse. The descriptors have numbers alone, see claim_fds(). Errors: InvalidArgument naming
/// the key.
Result<DeviceConfig> parse_device(std::string_view text);

/// "disk 'root'", for messages.
std::string name_of(const DeviceConfig& device);

/// The device of QEMU's that drives this one over vhost-user, with its options.
std::string qemu_device_of(const DeviceConfig& device);

/// The netdev of QEMU's, with its options, between that device and its chardev. Empty: none is.
std::string qemu_netdev_of(const DeviceConfig& device);

/// Each descriptor of the device.
void for_each_fd(DeviceConfig& device, const std::function<void(NumberedFd&)>& call);

}  // namespace pepita::vmm
