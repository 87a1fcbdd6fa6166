#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::shim {

/// What a machine is made from. It owns the files.
struct MachineWish {
    Isolation isolation = Isolation::Kvm;
    Bytes memory = 512_MiB;
    Fd memory_file;  // of that size, mapped by all processes of the machine
    std::uint32_t vcpus = 1;
    std::uint32_t vcpus_online = 1;  // once it has booted
    std::string kernel_words;        // what the guest's kernel wants on its command line
    Fd kvm;                          // /dev/kvm, for Isolation::Kvm
    Fd kernel;                       // vmlinux
    Fd initrd;
    Fd console;  // or none
    Fd files;    // virtiofsd's socket, or none
    std::vector<vmm::DeviceConfig> devices;
};

inline constexpr const char* kRootDiskSerial = "root";
inline constexpr const char* kScratchDiskSerial = "scratch";
inline constexpr const char* kFilesId = "files";
inline constexpr const char* kFilesTag = "pepita";       // by which the guest mounts them
inline constexpr const char* kVsockName = "vsock.sock";  // in the machine's own directory

/// What every guest has from its start.
struct BootFiles {
    std::vector<Fd> root;               // the files of a disk that is never written; or none
    Fd scratch;                         // what the scratch disk begins as; or none
    std::optional<Bytes> scratch_size;  // quota of the writable layer; none: there is no such disk
    Fd vsock;                           // a listening socket
};
std::vector<vmm::DeviceConfig> boot_devices(BootFiles files);

/// QEMU's bridges with the slots for devices that come later: its root bus cannot take any.
inline constexpr std::array kHotplugBridges{"hotplug0", "hotplug1", "hotplug2"};
inline constexpr std::size_t kSlotsPerBridge = 31;  // 1 to 31

/// Where pepita-vmm waits for the front end of a device with a netdev.
std::string net_socket_name(const std::string& device);
/// The same for QEMU, which has the directory by that number.
std::string net_socket_path(int directory, const std::string& device);

/// QEMU's name for what it has for a device: of the chardev and the device itself.
std::string qemu_id(const std::string& device);

/// QEMU, which runs the guest, while pepita-vmm serves the devices.
struct QemuPlan {
    std::vector<std::string> arguments;  // without the program's name
    std::vector<vmm::NumberedFd> files;  // memory, kernel, initrd and console
    vmm::NumberedFd qmp;                 // a socket
    vmm::NumberedFd directory;           // the machine's own
    /// A socket for each device, whose other end that has. None for a device with a netdev: QEMU
    /// 7.2 takes such a socket by its path alone, net_socket_name() in the directory.
    std::vector<vmm::NumberedFd> back_ends;
};

/// The processes of one machine. With KVM it is pepita-vmm alone. The sockets between the processes
/// have numbers alone: Machine::start() makes them.
struct MachinePlan {
    vmm::MachineConfig vmm;
    std::optional<QemuPlan> qemu;
};

/// Pure: the same wish gives the same plan.
MachinePlan plan_machine(MachineWish wish);

}  // namespace pepita::shim
