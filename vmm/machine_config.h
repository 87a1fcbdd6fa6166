#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

/// The number of a descriptor that pepita-vmm inherits. Not owned by the config.
enum class InheritedFd : int {};

enum class Access : std::uint8_t { ReadWrite, ReadOnly };

/// A disk whose written pages are in a compressed store of pepita-vmm's own, and which begins as a
/// file that is never written.
struct StoreConfig {
    static constexpr std::uint64_t kSizeMaxMib = 65'536;
    Bytes size;  // of the disk, 1 MiB to 64 GiB, whole MiB; the file may be shorter

    friend bool operator==(const StoreConfig&, const StoreConfig&) = default;
};

/// A raw file as virtio-blk, or what a store makes of it. Devices are enumerated by the guest in
/// the order of the list.
struct DiskConfig {
    InheritedFd file{};
    Access access = Access::ReadWrite;      // a store is written
    std::string serial;                     // virtio-blk ID, 1 to 20 bytes of [A-Za-z0-9._-]
    std::optional<InheritedFd> vhost_user;  // a connected front end; in-process without
    std::optional<StoreConfig> store;

    friend bool operator==(const DiskConfig&, const DiskConfig&) = default;
};

/// virtio-vsock with Firecracker's protocol on the host's side.
struct VsockConfig {
    std::uint32_t guest_cid = 3;
    InheritedFd listener{};  // host clients connect here and say "CONNECT <port>\n"
    /// A guest that connects to host port N reaches the unix socket "<guest_prefix>_N", a path
    /// relative to pepita-vmm's working directory.
    std::string guest_prefix;
    std::optional<InheritedFd> vhost_user;

    friend bool operator==(const VsockConfig&, const VsockConfig&) = default;
};

struct EntropyConfig {
    std::optional<InheritedFd> vhost_user;

    friend bool operator==(const EntropyConfig&, const EntropyConfig&) = default;
};

/// A KVM machine. Absent where pepita-vmm only serves devices over vhost-user.
struct KvmConfig {
    InheritedFd kvm{};     // open("/dev/kvm")
    InheritedFd kernel{};  // an uncompressed ELF vmlinux with a PVH entry
    std::optional<InheritedFd> initrd;
    std::string command_line;
    Bytes memory = 512_MiB;   // 16 MiB to 64 GiB, whole MiB
    std::uint32_t vcpus = 1;  // 1 to 8
    /// Where the serial console writes, for debugging. Without it there is no serial port.
    std::optional<InheritedFd> console;

    friend bool operator==(const KvmConfig&, const KvmConfig&) = default;
};

/// All that pepita-vmm is told. A value: no descriptor is owned here.
struct MachineConfig {
    std::optional<KvmConfig> kvm;
    std::vector<DiskConfig> disks;
    std::optional<VsockConfig> vsock;
    std::optional<EntropyConfig> entropy;

    friend bool operator==(const MachineConfig&, const MachineConfig&) = default;
};

/// The command line that makes pepita-vmm this machine, program name excluded:
///   --kvm 3 --kernel 4 --initrd 5 --memory-mib 512 --vcpus 1 --command-line '...' [--console 2]
///   --disk file=6,serial=rootfs[,read-only][,vhost-user=9]
///   --disk store=1024,base=12,serial=scratch[,vhost-user=9]
///   --vsock cid=3,listener=7,prefix=vsock.sock[,vhost-user=9]  --entropy [vhost-user=9|pci]
std::vector<std::string> to_arguments(const MachineConfig& config);

/// The other way round. Errors: InvalidArgument naming the option and what is wrong with it.
Result<MachineConfig> parse_arguments(std::span<const std::string> arguments);

/// How a machine ended; pepita-vmm's exit status.
enum class ExitReason : std::uint8_t {
    PowerOff = 0,
    InternalError = 1,  // the reason stands on standard error
    Usage = 2,
    Reset = 10,
    TripleFault = 11,
    GuestPanic = 12,
    FrontEndGone = 13,  // vhost-user only: the front end closed its connection
};

}  // namespace pepita::vmm
