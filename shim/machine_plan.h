#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "vmm/machine_config.h"

namespace pepita::shim {

/// What a machine is made from. Plain values.
struct MachineWish {
    Isolation isolation = Isolation::Kvm;
    Bytes memory = 512_MiB;
    std::uint32_t vcpus = 1;
    bool has_console = false;
    std::string kernel_words;      // what the guest's kernel wants on its command line
    std::optional<Bytes> scratch;  // quota of the writable layer; none: there is no such disk
};

/// The numbers that descriptors have in the machine's processes.
struct VmmFds {
    static constexpr int kKvm = 3;
    static constexpr int kKernel = 4;
    static constexpr int kInitrd = 5;
    static constexpr int kRootDisk = 6;
    static constexpr int kVsockListener = 7;
    static constexpr int kConsole = 8;
    static constexpr int kDiskFrontEnd = 9;
    static constexpr int kVsockFrontEnd = 10;
    static constexpr int kEntropyFrontEnd = 11;
    static constexpr int kScratchBase = 12;
    static constexpr int kScratchFrontEnd = 13;
};
struct QemuFds {
    static constexpr int kKernel = 3;
    static constexpr int kInitrd = 4;
    static constexpr int kConsole = 5;
    static constexpr int kDiskBackEnd = 6;
    static constexpr int kVsockBackEnd = 7;
    static constexpr int kEntropyBackEnd = 8;
    static constexpr int kScratchBackEnd = 9;
};

inline constexpr const char* kRootDiskSerial = "root";
inline constexpr const char* kScratchDiskSerial = "scratch";
inline constexpr const char* kVsockName = "vsock.sock";  // in the machine's own directory

/// The processes of one machine. With KVM it is pepita-vmm alone; with TCG pepita-vmm serves the
/// devices and QEMU drives them over vhost-user.
struct MachinePlan {
    vmm::MachineConfig vmm;
    std::vector<std::string> qemu_arguments;  // empty with KVM; without the program's name
};

/// Pure: the same wish gives the same plan.
MachinePlan plan_machine(const MachineWish& wish);

}  // namespace pepita::shim
