#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/uapi/kvm_capability.h"  // IWYU pragma: export
#include "kernel-abi/uapi/kvm_irq.h"         // IWYU pragma: export
#include "kernel-abi/uapi/kvm_memory.h"      // IWYU pragma: export
#include "kernel-abi/uapi/kvm_nested.h"      // IWYU pragma: export
#include "kernel-abi/uapi/kvm_run.h"         // IWYU pragma: export
#include "kernel-abi/uapi/kvm_vcpu.h"        // IWYU pragma: export
#include "kernel-abi/uapi/kvm_vm.h"          // IWYU pragma: export

/// What we exchange with /dev/kvm, x86-64: the requests here, what they carry in kvm_*.h. Our own
/// definitions, because in C++ the flexible arrays of Debian 12's header are one byte long:
/// sizeof(kvm_cpuid2) is 12 there, and the ioctl number that is made of it wrong. A comment
/// behind a name says which Linux brought it; what has none is as old as Linux 3.0. Source: Linux
/// 7.3 include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
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
inline constexpr unsigned long kGetEmulatedCpuid = request(Direction::ReadWrite, 0x09, 8);  // 3.13
inline constexpr unsigned long kGetMsrFeatureIndexList =
    request(Direction::ReadWrite, 0x0a, sizeof(MsrList));  // 4.16

// of a VM
inline constexpr unsigned long kCreateVcpu = request(Direction::None, 0x41, 0);
inline constexpr unsigned long kGetDirtyLog = request(Direction::Write, 0x42, sizeof(DirtyLog));
inline constexpr unsigned long kSetNrMmuPages = request(Direction::None, 0x44, 0);
inline constexpr unsigned long kGetNrMmuPages = request(Direction::None, 0x45, 0);
inline constexpr unsigned long kSetUserMemoryRegion =
    request(Direction::Write, 0x46, sizeof(UserMemoryRegion));
inline constexpr unsigned long kSetTssAddr = request(Direction::None, 0x47, 0);
inline constexpr unsigned long kSetIdentityMapAddr = request(Direction::Write, 0x48, 8);
inline constexpr unsigned long kSetUserMemoryRegion2 =
    request(Direction::Write, 0x49, sizeof(UserMemoryRegion2));  // 6.8
inline constexpr unsigned long kCreateIrqchip = request(Direction::None, 0x60, 0);
inline constexpr unsigned long kIrqLine = request(Direction::Write, 0x61, sizeof(IrqLevel));
inline constexpr unsigned long kGetIrqchip = request(Direction::ReadWrite, 0x62, sizeof(Irqchip));
inline constexpr unsigned long kSetIrqchip = request(Direction::Read, 0x63, sizeof(Irqchip));
inline constexpr unsigned long kCreatePit = request(Direction::None, 0x64, 0);
inline constexpr unsigned long kGetPit = request(Direction::ReadWrite, 0x65, sizeof(PitState));
inline constexpr unsigned long kSetPit = request(Direction::Read, 0x66, sizeof(PitState));
inline constexpr unsigned long kIrqLineStatus =
    request(Direction::ReadWrite, 0x67, sizeof(IrqLevel));
inline constexpr unsigned long kRegisterCoalescedMmio =
    request(Direction::Write, 0x67, sizeof(CoalescedMmioZone));
inline constexpr unsigned long kUnregisterCoalescedMmio =
    request(Direction::Write, 0x68, sizeof(CoalescedMmioZone));
inline constexpr unsigned long kSetGsiRouting = request(Direction::Write, 0x6a, sizeof(IrqRouting));
inline constexpr unsigned long kReinjectControl = request(Direction::None, 0x71, 0);
inline constexpr unsigned long kIrqfd = request(Direction::Write, 0x76, sizeof(IrqFd));
inline constexpr unsigned long kCreatePit2 = request(Direction::Write, 0x77, sizeof(PitConfig));
inline constexpr unsigned long kSetBootCpuId = request(Direction::None, 0x78, 0);
inline constexpr unsigned long kIoEventFd = request(Direction::Write, 0x79, sizeof(IoEventFd));
inline constexpr unsigned long kXenHvmConfig = request(Direction::Write, 0x7a, 56);
inline constexpr unsigned long kSetClock = request(Direction::Write, 0x7b, sizeof(ClockData));
inline constexpr unsigned long kGetClock = request(Direction::Read, 0x7c, sizeof(ClockData));
inline constexpr unsigned long kGetPit2 = request(Direction::Read, 0x9f, sizeof(PitState2));
inline constexpr unsigned long kSetPit2 = request(Direction::Write, 0xa0, sizeof(PitState2));
inline constexpr unsigned long kSignalMsi = request(Direction::Write, 0xa5, sizeof(Msi));  // 3.5
inline constexpr unsigned long kSetPmuEventFilter =
    request(Direction::Write, 0xb2, sizeof(PmuEventFilter));                               // 5.3
inline constexpr unsigned long kMemoryEncryptOp = request(Direction::ReadWrite, 0xba, 8);  // 4.16
inline constexpr unsigned long kMemoryEncryptRegRegion =
    request(Direction::Read, 0xbb, sizeof(EncRegion));  // 4.16
inline constexpr unsigned long kMemoryEncryptUnregRegion =
    request(Direction::Read, 0xbc, sizeof(EncRegion));                                // 4.16
inline constexpr unsigned long kHypervEventfd = request(Direction::Write, 0xbd, 24);  // 4.17
inline constexpr unsigned long kClearDirtyLog =
    request(Direction::ReadWrite, 0xc0, sizeof(ClearDirtyLog));  // 5.0
inline constexpr unsigned long kX86SetMsrFilter =
    request(Direction::Write, 0xc6, sizeof(MsrFilter));                                   // 5.10
inline constexpr unsigned long kResetDirtyRings = request(Direction::None, 0xc7, 0);      // 5.11
inline constexpr unsigned long kXenHvmGetAttr = request(Direction::ReadWrite, 0xc8, 72);  // 5.12
inline constexpr unsigned long kXenHvmSetAttr = request(Direction::Write, 0xc9, 72);      // 5.12
inline constexpr unsigned long kXenHvmEvtchnSend =
    request(Direction::Write, 0xd0, sizeof(IrqRoutingXenEvtchn));  // 5.18
inline constexpr unsigned long kSetMemoryAttributes =
    request(Direction::Write, 0xd2, sizeof(MemoryAttributes));  // 6.8
inline constexpr unsigned long kCreateGuestMemfd =
    request(Direction::ReadWrite, 0xd4, sizeof(CreateGuestMemfd));  // 6.8
inline constexpr unsigned long kCreateDevice =
    request(Direction::ReadWrite, 0xe0, sizeof(CreateDevice));  // 3.10

// of a device, a VM, a vCPU or /dev/kvm
inline constexpr unsigned long kSetDeviceAttr =
    request(Direction::Write, 0xe1, sizeof(DeviceAttr));  // 3.10
inline constexpr unsigned long kGetDeviceAttr =
    request(Direction::Write, 0xe2, sizeof(DeviceAttr));  // 3.10
inline constexpr unsigned long kHasDeviceAttr =
    request(Direction::Write, 0xe3, sizeof(DeviceAttr));  // 3.10

// of a vCPU; some are of a VM or /dev/kvm too
inline constexpr unsigned long kRun = request(Direction::None, 0x80, 0);
inline constexpr unsigned long kGetRegs = request(Direction::Read, 0x81, sizeof(Regs));
inline constexpr unsigned long kSetRegs = request(Direction::Write, 0x82, sizeof(Regs));
inline constexpr unsigned long kGetSregs = request(Direction::Read, 0x83, sizeof(Sregs));
inline constexpr unsigned long kSetSregs = request(Direction::Write, 0x84, sizeof(Sregs));
inline constexpr unsigned long kTranslate =
    request(Direction::ReadWrite, 0x85, sizeof(Translation));
inline constexpr unsigned long kInterrupt = request(Direction::Write, 0x86, sizeof(Interrupt));
inline constexpr unsigned long kGetMsrs = request(Direction::ReadWrite, 0x88, 8);
inline constexpr unsigned long kSetMsrs = request(Direction::Write, 0x89, 8);
inline constexpr unsigned long kSetCpuid = request(Direction::Write, 0x8a, sizeof(Cpuid1));
inline constexpr unsigned long kSetSignalMask = request(Direction::Write, 0x8b, sizeof(SignalMask));
inline constexpr unsigned long kGetFpu = request(Direction::Read, 0x8c, sizeof(Fpu));
inline constexpr unsigned long kSetFpu = request(Direction::Write, 0x8d, sizeof(Fpu));
inline constexpr unsigned long kGetLapic = request(Direction::Read, 0x8e, sizeof(LapicState));
inline constexpr unsigned long kSetLapic = request(Direction::Write, 0x8f, sizeof(LapicState));
inline constexpr unsigned long kSetCpuid2 = request(Direction::Write, 0x90, 8);
inline constexpr unsigned long kGetCpuid2 = request(Direction::ReadWrite, 0x91, 8);
inline constexpr unsigned long kTprAccessReporting =
    request(Direction::ReadWrite, 0x92, sizeof(TprAccessCtl));
inline constexpr unsigned long kSetVapicAddr = request(Direction::Write, 0x93, sizeof(VapicAddr));
inline constexpr unsigned long kGetMpState = request(Direction::Read, 0x98, sizeof(MpState));
inline constexpr unsigned long kSetMpState = request(Direction::Write, 0x99, sizeof(MpState));
inline constexpr unsigned long kNmi = request(Direction::None, 0x9a, 0);
inline constexpr unsigned long kSetGuestDebug = request(Direction::Write, 0x9b, sizeof(GuestDebug));
inline constexpr unsigned long kX86SetupMce = request(Direction::Write, 0x9c, 8);
inline constexpr unsigned long kX86GetMceCapSupported = request(Direction::Read, 0x9d, 8);
inline constexpr unsigned long kX86SetMce = request(Direction::Write, 0x9e, sizeof(X86Mce));
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
inline constexpr unsigned long kGetOneReg = request(Direction::Write, 0xab, sizeof(OneReg));  // 3.3
inline constexpr unsigned long kSetOneReg = request(Direction::Write, 0xac, sizeof(OneReg));  // 3.3
inline constexpr unsigned long kKvmclockCtrl = request(Direction::None, 0xad, 0);             // 3.5
inline constexpr unsigned long kGetRegList =
    request(Direction::ReadWrite, 0xb0, sizeof(RegList));                 // 3.10
inline constexpr unsigned long kSmi = request(Direction::None, 0xb7, 0);  // 4.2
inline constexpr unsigned long kGetNestedState =
    request(Direction::ReadWrite, 0xbe, sizeof(NestedState));  // 4.20
inline constexpr unsigned long kSetNestedState =
    request(Direction::Write, 0xbf, sizeof(NestedState));  // 4.20
inline constexpr unsigned long kGetSupportedHvCpuid =
    request(Direction::ReadWrite, 0xc1, 8);                                                  // 5.0
inline constexpr unsigned long kXenVcpuGetAttr = request(Direction::ReadWrite, 0xca, 72);    // 5.12
inline constexpr unsigned long kXenVcpuSetAttr = request(Direction::Write, 0xcb, 72);        // 5.12
inline constexpr unsigned long kGetSregs2 = request(Direction::Read, 0xcc, sizeof(Sregs2));  // 5.14
inline constexpr unsigned long kSetSregs2 =
    request(Direction::Write, 0xcd, sizeof(Sregs2));                                        // 5.14
inline constexpr unsigned long kGetStatsFd = request(Direction::None, 0xce, 0);             // 5.14
inline constexpr unsigned long kGetXsave2 = request(Direction::Read, 0xcf, sizeof(Xsave));  // 5.17
inline constexpr unsigned long kPreFaultMemory =
    request(Direction::ReadWrite, 0xd5, sizeof(PreFaultMemory));  // 6.11

}  // namespace pepita::abi::kvm
