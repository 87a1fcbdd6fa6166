#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/kvm_run.h"   // IWYU pragma: export
#include "kernel-abi/uapi/kvm_vcpu.h"  // IWYU pragma: export
#include "kernel-abi/uapi/kvm_vm.h"    // IWYU pragma: export

/// The interface of /dev/kvm, x86-64: the requests here, their arguments in kvm_*.h. Our own
/// definitions, because in C++ the flexible arrays of Debian 12's header are one byte long:
/// sizeof(kvm_cpuid2) is 12 there, so the ioctl number made of it is wrong. What a boot, a run and
/// a snapshot of an x86-64 guest need is here; a comment behind a name gives the Linux that brought
/// it where that is later than 6.1. Source: Linux 7.3 include/uapi/linux/kvm.h,
/// arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

enum class Direction : std::uint32_t { None = 0, Write = 1, Read = 2, ReadWrite = 3 };

/// asm-generic/ioctl.h, with KVM's type 0xae.
constexpr unsigned long request(Direction direction, std::uint32_t number, std::size_t size) {
    return (static_cast<unsigned long>(direction) << 30U) | (size << 16U) | (0xaeUL << 8U) | number;
}

inline constexpr int kApiVersion = 12;

// of /dev/kvm
inline constexpr unsigned long kGetApiVersion = request(Direction::None, 0x00, 0);
inline constexpr unsigned long kCreateVm = request(Direction::None, 0x01, 0);
inline constexpr unsigned long kGetMsrIndexList =
    request(Direction::ReadWrite, 0x02, sizeof(MsrList));
inline constexpr unsigned long kCheckExtension = request(Direction::None, 0x03, 0);
inline constexpr unsigned long kGetVcpuMmapSize = request(Direction::None, 0x04, 0);
inline constexpr unsigned long kGetSupportedCpuid = request(Direction::ReadWrite, 0x05, 8);
inline constexpr unsigned long kGetMsrFeatureIndexList =
    request(Direction::ReadWrite, 0x0a, sizeof(MsrList));

// of a VM
inline constexpr unsigned long kCreateVcpu = request(Direction::None, 0x41, 0);
inline constexpr unsigned long kCreateIrqchip = request(Direction::None, 0x60, 0);
inline constexpr unsigned long kGetDirtyLog = request(Direction::Write, 0x42, sizeof(DirtyLog));
inline constexpr unsigned long kSetUserMemoryRegion =
    request(Direction::Write, 0x46, sizeof(UserMemoryRegion));
inline constexpr unsigned long kSetTssAddr = request(Direction::None, 0x47, 0);
inline constexpr unsigned long kSetIdentityMapAddr = request(Direction::Write, 0x48, 8);
inline constexpr unsigned long kSetGsiRouting = request(Direction::Write, 0x6a, sizeof(IrqRouting));
inline constexpr unsigned long kIrqfd = request(Direction::Write, 0x76, sizeof(IrqFd));
inline constexpr unsigned long kIoEventFd = request(Direction::Write, 0x79, sizeof(IoEventFd));
inline constexpr unsigned long kSetClock = request(Direction::Write, 0x7b, sizeof(ClockData));
inline constexpr unsigned long kGetClock = request(Direction::Read, 0x7c, sizeof(ClockData));
inline constexpr unsigned long kSignalMsi = request(Direction::Write, 0xa5, sizeof(Msi));
inline constexpr unsigned long kClearDirtyLog =
    request(Direction::ReadWrite, 0xc0, sizeof(ClearDirtyLog));

// of a device, a VM, a vCPU or /dev/kvm
inline constexpr unsigned long kSetDeviceAttr = request(Direction::Write, 0xe1, sizeof(DeviceAttr));
inline constexpr unsigned long kGetDeviceAttr = request(Direction::Write, 0xe2, sizeof(DeviceAttr));
inline constexpr unsigned long kHasDeviceAttr = request(Direction::Write, 0xe3, sizeof(DeviceAttr));

// of a vCPU; some are of a VM or /dev/kvm too
inline constexpr unsigned long kRun = request(Direction::None, 0x80, 0);
inline constexpr unsigned long kGetRegs = request(Direction::Read, 0x81, sizeof(Regs));
inline constexpr unsigned long kSetRegs = request(Direction::Write, 0x82, sizeof(Regs));
inline constexpr unsigned long kGetSregs = request(Direction::Read, 0x83, sizeof(Sregs));
inline constexpr unsigned long kSetSregs = request(Direction::Write, 0x84, sizeof(Sregs));
inline constexpr unsigned long kGetMsrs = request(Direction::ReadWrite, 0x88, 8);
inline constexpr unsigned long kSetMsrs = request(Direction::Write, 0x89, 8);
inline constexpr unsigned long kGetLapic = request(Direction::Read, 0x8e, sizeof(LapicState));
inline constexpr unsigned long kSetLapic = request(Direction::Write, 0x8f, sizeof(LapicState));
inline constexpr unsigned long kSetCpuid2 = request(Direction::Write, 0x90, 8);
inline constexpr unsigned long kGetCpuid2 = request(Direction::ReadWrite, 0x91, 8);
inline constexpr unsigned long kGetMpState = request(Direction::Read, 0x98, sizeof(MpState));
inline constexpr unsigned long kSetMpState = request(Direction::Write, 0x99, sizeof(MpState));
inline constexpr unsigned long kGetVcpuEvents = request(Direction::Read, 0x9f, sizeof(VcpuEvents));
inline constexpr unsigned long kSetVcpuEvents = request(Direction::Write, 0xa0, sizeof(VcpuEvents));
inline constexpr unsigned long kGetDebugregs = request(Direction::Read, 0xa1, sizeof(Debugregs));
inline constexpr unsigned long kSetDebugregs = request(Direction::Write, 0xa2, sizeof(Debugregs));
inline constexpr unsigned long kSetTscKhz = request(Direction::None, 0xa2, 0);
inline constexpr unsigned long kGetTscKhz = request(Direction::None, 0xa3, 0);
inline constexpr unsigned long kEnableCap = request(Direction::Write, 0xa3, sizeof(EnableCap));
inline constexpr unsigned long kGetXsave = request(Direction::Read, 0xa4, sizeof(Xsave));
inline constexpr unsigned long kSetXsave = request(Direction::Write, 0xa5, sizeof(Xsave));
inline constexpr unsigned long kGetXcrs = request(Direction::Read, 0xa6, sizeof(Xcrs));
inline constexpr unsigned long kSetXcrs = request(Direction::Write, 0xa7, sizeof(Xcrs));
inline constexpr unsigned long kKvmclockCtrl = request(Direction::None, 0xad, 0);
inline constexpr unsigned long kGetXsave2 = request(Direction::Read, 0xcf, sizeof(Xsave));

}  // namespace pepita::abi::kvm
