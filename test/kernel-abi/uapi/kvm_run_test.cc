#include "kernel-abi/uapi/kvm_run.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/uapi/version.h"
#include "test/kernel-abi/uapi/kvm_machine.h"
#include "test/kernel-abi/uapi/newer_kvm.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi::kvm {
namespace {

static_assert(static_cast<std::uint32_t>(ExitReason::Unknown) == KVM_EXIT_UNKNOWN);
static_assert(static_cast<std::uint32_t>(ExitReason::Exception) == KVM_EXIT_EXCEPTION);
static_assert(static_cast<std::uint32_t>(ExitReason::Io) == KVM_EXIT_IO);
static_assert(static_cast<std::uint32_t>(ExitReason::Hypercall) == KVM_EXIT_HYPERCALL);
static_assert(static_cast<std::uint32_t>(ExitReason::Debug) == KVM_EXIT_DEBUG);
static_assert(static_cast<std::uint32_t>(ExitReason::Hlt) == KVM_EXIT_HLT);
static_assert(static_cast<std::uint32_t>(ExitReason::Mmio) == KVM_EXIT_MMIO);
static_assert(static_cast<std::uint32_t>(ExitReason::InterruptWindowOpen) ==
              KVM_EXIT_IRQ_WINDOW_OPEN);
static_assert(static_cast<std::uint32_t>(ExitReason::Shutdown) == KVM_EXIT_SHUTDOWN);
static_assert(static_cast<std::uint32_t>(ExitReason::FailEntry) == KVM_EXIT_FAIL_ENTRY);
static_assert(static_cast<std::uint32_t>(ExitReason::Interrupted) == KVM_EXIT_INTR);
static_assert(static_cast<std::uint32_t>(ExitReason::SetTpr) == KVM_EXIT_SET_TPR);
static_assert(static_cast<std::uint32_t>(ExitReason::TprAccess) == KVM_EXIT_TPR_ACCESS);
static_assert(static_cast<std::uint32_t>(ExitReason::S390Sieic) == KVM_EXIT_S390_SIEIC);
static_assert(static_cast<std::uint32_t>(ExitReason::S390Reset) == KVM_EXIT_S390_RESET);
static_assert(static_cast<std::uint32_t>(ExitReason::Dcr) == KVM_EXIT_DCR);
static_assert(static_cast<std::uint32_t>(ExitReason::Nmi) == KVM_EXIT_NMI);
static_assert(static_cast<std::uint32_t>(ExitReason::InternalError) == KVM_EXIT_INTERNAL_ERROR);
static_assert(static_cast<std::uint32_t>(ExitReason::Osi) == KVM_EXIT_OSI);
static_assert(static_cast<std::uint32_t>(ExitReason::PaprHcall) == KVM_EXIT_PAPR_HCALL);
static_assert(static_cast<std::uint32_t>(ExitReason::S390Ucontrol) == KVM_EXIT_S390_UCONTROL);
static_assert(static_cast<std::uint32_t>(ExitReason::Watchdog) == KVM_EXIT_WATCHDOG);
static_assert(static_cast<std::uint32_t>(ExitReason::S390Tsch) == KVM_EXIT_S390_TSCH);
static_assert(static_cast<std::uint32_t>(ExitReason::Epr) == KVM_EXIT_EPR);
static_assert(static_cast<std::uint32_t>(ExitReason::SystemEvent) == KVM_EXIT_SYSTEM_EVENT);
static_assert(static_cast<std::uint32_t>(ExitReason::S390Stsi) == KVM_EXIT_S390_STSI);
static_assert(static_cast<std::uint32_t>(ExitReason::IoapicEoi) == KVM_EXIT_IOAPIC_EOI);
static_assert(static_cast<std::uint32_t>(ExitReason::Hyperv) == KVM_EXIT_HYPERV);
static_assert(static_cast<std::uint32_t>(ExitReason::ArmNisv) == KVM_EXIT_ARM_NISV);
static_assert(static_cast<std::uint32_t>(ExitReason::X86Rdmsr) == KVM_EXIT_X86_RDMSR);
static_assert(static_cast<std::uint32_t>(ExitReason::X86Wrmsr) == KVM_EXIT_X86_WRMSR);
static_assert(static_cast<std::uint32_t>(ExitReason::DirtyRingFull) == KVM_EXIT_DIRTY_RING_FULL);
static_assert(static_cast<std::uint32_t>(ExitReason::ApResetHold) == KVM_EXIT_AP_RESET_HOLD);
static_assert(static_cast<std::uint32_t>(ExitReason::X86BusLock) == KVM_EXIT_X86_BUS_LOCK);
static_assert(static_cast<std::uint32_t>(ExitReason::Xen) == KVM_EXIT_XEN);
static_assert(static_cast<std::uint32_t>(ExitReason::RiscvSbi) == KVM_EXIT_RISCV_SBI);
static_assert(static_cast<std::uint32_t>(ExitReason::RiscvCsr) == KVM_EXIT_RISCV_CSR);
static_assert(static_cast<std::uint32_t>(ExitReason::Notify) == KVM_EXIT_NOTIFY);
static_assert(static_cast<std::uint32_t>(ExitReason::LoongarchIocsr) == KVM_EXIT_LOONGARCH_IOCSR);
static_assert(static_cast<std::uint32_t>(ExitReason::MemoryFault) == KVM_EXIT_MEMORY_FAULT);
static_assert(static_cast<std::uint32_t>(ExitReason::Tdx) == KVM_EXIT_TDX);
static_assert(static_cast<std::uint32_t>(ExitReason::ArmSea) == KVM_EXIT_ARM_SEA);
static_assert(static_cast<std::uint32_t>(ExitReason::ArmLdst64b) == KVM_EXIT_ARM_LDST64B);
static_assert(static_cast<std::uint32_t>(ExitReason::SnpReqCerts) == KVM_EXIT_SNP_REQ_CERTS);

static_assert(kRunX86Smm == KVM_RUN_X86_SMM);
static_assert(kRunX86BusLock == KVM_RUN_X86_BUS_LOCK);
static_assert(kRunX86GuestMode == KVM_RUN_X86_GUEST_MODE);

static_assert(kExitIoIn == KVM_EXIT_IO_IN);
static_assert(kExitIoOut == KVM_EXIT_IO_OUT);

static_assert(kInternalErrorEmulation == KVM_INTERNAL_ERROR_EMULATION);
static_assert(kInternalErrorSimulEx == KVM_INTERNAL_ERROR_SIMUL_EX);
static_assert(kInternalErrorDeliveryEv == KVM_INTERNAL_ERROR_DELIVERY_EV);
static_assert(kInternalErrorUnexpectedExitReason == KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);

static_assert(kInternalErrorEmulationFlagInstructionBytes ==
              KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);

static_assert(kSystemEventShutdown == KVM_SYSTEM_EVENT_SHUTDOWN);
static_assert(kSystemEventReset == KVM_SYSTEM_EVENT_RESET);
static_assert(kSystemEventCrash == KVM_SYSTEM_EVENT_CRASH);
static_assert(kSystemEventWakeup == KVM_SYSTEM_EVENT_WAKEUP);
static_assert(kSystemEventSuspend == KVM_SYSTEM_EVENT_SUSPEND);
static_assert(kSystemEventSevTerm == KVM_SYSTEM_EVENT_SEV_TERM);
static_assert(kSystemEventTdxFatal == KVM_SYSTEM_EVENT_TDX_FATAL);

static_assert(kExitHypervSynic == KVM_EXIT_HYPERV_SYNIC);
static_assert(kExitHypervHcall == KVM_EXIT_HYPERV_HCALL);
static_assert(kExitHypervSyndbg == KVM_EXIT_HYPERV_SYNDBG);

static_assert(kExitXenHcall == KVM_EXIT_XEN_HCALL);

static_assert(kMsrExitReasonInval == KVM_MSR_EXIT_REASON_INVAL);
static_assert(kMsrExitReasonUnknown == KVM_MSR_EXIT_REASON_UNKNOWN);
static_assert(kMsrExitReasonFilter == KVM_MSR_EXIT_REASON_FILTER);

static_assert(kMsrExitReasonValidMask == KVM_MSR_EXIT_REASON_VALID_MASK);

static_assert(kExitHypercallLongMode == KVM_EXIT_HYPERCALL_LONG_MODE);

static_assert(kNotifyContextInvalid == KVM_NOTIFY_CONTEXT_INVALID);

static_assert(kMemoryExitFlagPrivate == KVM_MEMORY_EXIT_FLAG_PRIVATE);

static_assert(kSyncX86Regs == KVM_SYNC_X86_REGS);
static_assert(kSyncX86Sregs == KVM_SYNC_X86_SREGS);
static_assert(kSyncX86Events == KVM_SYNC_X86_EVENTS);

static_assert(kSyncX86ValidFields == KVM_SYNC_X86_VALID_FIELDS);

static_assert(kSyncRegsSizeBytes == SYNC_REGS_SIZE_BYTES);

SAME_SIZE(DebugExitArch, kvm_debug_exit_arch);
SAME_PLACE(DebugExitArch, exception, kvm_debug_exit_arch, exception);
SAME_PLACE(DebugExitArch, pad, kvm_debug_exit_arch, pad);
SAME_PLACE(DebugExitArch, pc, kvm_debug_exit_arch, pc);
SAME_PLACE(DebugExitArch, dr6, kvm_debug_exit_arch, dr6);
SAME_PLACE(DebugExitArch, dr7, kvm_debug_exit_arch, dr7);

SAME_SIZE(HypervExit, kvm_hyperv_exit);
SAME_PLACE(HypervExit, type, kvm_hyperv_exit, type);
SAME_PLACE(HypervExit, pad1, kvm_hyperv_exit, pad1);
SAME_PLACE(HypervExit, u, kvm_hyperv_exit, u);
SAME_PLACE(HypervExit, u.synic, kvm_hyperv_exit, u.synic);
SAME_PLACE(HypervExit, u.synic.msr, kvm_hyperv_exit, u.synic.msr);
SAME_PLACE(HypervExit, u.synic.pad2, kvm_hyperv_exit, u.synic.pad2);
SAME_PLACE(HypervExit, u.synic.control, kvm_hyperv_exit, u.synic.control);
SAME_PLACE(HypervExit, u.synic.evt_page, kvm_hyperv_exit, u.synic.evt_page);
SAME_PLACE(HypervExit, u.synic.msg_page, kvm_hyperv_exit, u.synic.msg_page);
SAME_PLACE(HypervExit, u.hcall, kvm_hyperv_exit, u.hcall);
SAME_PLACE(HypervExit, u.hcall.input, kvm_hyperv_exit, u.hcall.input);
SAME_PLACE(HypervExit, u.hcall.result, kvm_hyperv_exit, u.hcall.result);
SAME_PLACE(HypervExit, u.hcall.params, kvm_hyperv_exit, u.hcall.params);
SAME_PLACE(HypervExit, u.syndbg, kvm_hyperv_exit, u.syndbg);
SAME_PLACE(HypervExit, u.syndbg.msr, kvm_hyperv_exit, u.syndbg.msr);
SAME_PLACE(HypervExit, u.syndbg.pad2, kvm_hyperv_exit, u.syndbg.pad2);
SAME_PLACE(HypervExit, u.syndbg.control, kvm_hyperv_exit, u.syndbg.control);
SAME_PLACE(HypervExit, u.syndbg.status, kvm_hyperv_exit, u.syndbg.status);
SAME_PLACE(HypervExit, u.syndbg.send_page, kvm_hyperv_exit, u.syndbg.send_page);
SAME_PLACE(HypervExit, u.syndbg.recv_page, kvm_hyperv_exit, u.syndbg.recv_page);
SAME_PLACE(HypervExit, u.syndbg.pending_page, kvm_hyperv_exit, u.syndbg.pending_page);

SAME_SIZE(XenExit, kvm_xen_exit);
SAME_PLACE(XenExit, type, kvm_xen_exit, type);
SAME_PLACE(XenExit, u, kvm_xen_exit, u);
SAME_PLACE(XenExit, u.hcall, kvm_xen_exit, u.hcall);
SAME_PLACE(XenExit, u.hcall.longmode, kvm_xen_exit, u.hcall.longmode);
SAME_PLACE(XenExit, u.hcall.cpl, kvm_xen_exit, u.hcall.cpl);
SAME_PLACE(XenExit, u.hcall.input, kvm_xen_exit, u.hcall.input);
SAME_PLACE(XenExit, u.hcall.result, kvm_xen_exit, u.hcall.result);
SAME_PLACE(XenExit, u.hcall.params, kvm_xen_exit, u.hcall.params);

SAME_SIZE(SyncRegs, kvm_sync_regs);
SAME_PLACE(SyncRegs, regs, kvm_sync_regs, regs);
SAME_PLACE(SyncRegs, sregs, kvm_sync_regs, sregs);
SAME_PLACE(SyncRegs, events, kvm_sync_regs, events);

SAME_SIZE(Run, kvm_run);
SAME_PLACE(Run, request_interrupt_window, kvm_run, request_interrupt_window);
SAME_PLACE(Run, immediate_exit, kvm_run, immediate_exit);
SAME_PLACE(Run, padding1, kvm_run, padding1);
SAME_PLACE(Run, exit_reason, kvm_run, exit_reason);
SAME_PLACE(Run, ready_for_interrupt_injection, kvm_run, ready_for_interrupt_injection);
SAME_PLACE(Run, if_flag, kvm_run, if_flag);
SAME_PLACE(Run, flags, kvm_run, flags);
SAME_PLACE(Run, cr8, kvm_run, cr8);
SAME_PLACE(Run, apic_base, kvm_run, apic_base);
SAME_PLACE(Run, hw, kvm_run, hw);
SAME_PLACE(Run, hw.hardware_exit_reason, kvm_run, hw.hardware_exit_reason);
SAME_PLACE(Run, fail_entry, kvm_run, fail_entry);
SAME_PLACE(Run, fail_entry.hardware_reason, kvm_run, fail_entry.hardware_entry_failure_reason);
SAME_PLACE(Run, fail_entry.cpu, kvm_run, fail_entry.cpu);
SAME_PLACE(Run, ex, kvm_run, ex);
SAME_PLACE(Run, ex.exception, kvm_run, ex.exception);
SAME_PLACE(Run, ex.error_code, kvm_run, ex.error_code);
SAME_PLACE(Run, io, kvm_run, io);
SAME_PLACE(Run, io.direction, kvm_run, io.direction);
SAME_PLACE(Run, io.size, kvm_run, io.size);
SAME_PLACE(Run, io.port, kvm_run, io.port);
SAME_PLACE(Run, io.count, kvm_run, io.count);
SAME_PLACE(Run, io.data_offset, kvm_run, io.data_offset);
SAME_PLACE(Run, debug, kvm_run, debug);
SAME_PLACE(Run, debug.arch, kvm_run, debug.arch);
SAME_PLACE(Run, mmio, kvm_run, mmio);
SAME_PLACE(Run, mmio.phys_addr, kvm_run, mmio.phys_addr);
SAME_PLACE(Run, mmio.data, kvm_run, mmio.data);
SAME_PLACE(Run, mmio.len, kvm_run, mmio.len);
SAME_PLACE(Run, mmio.is_write, kvm_run, mmio.is_write);
SAME_PLACE(Run, hypercall, kvm_run, hypercall);
SAME_PLACE(Run, hypercall.nr, kvm_run, hypercall.nr);
SAME_PLACE(Run, hypercall.args, kvm_run, hypercall.args);
SAME_PLACE(Run, hypercall.ret, kvm_run, hypercall.ret);
SAME_PLACE(Run, hypercall.longmode, kvm_run, hypercall.longmode);
SAME_PLACE(Run, tpr_access, kvm_run, tpr_access);
SAME_PLACE(Run, tpr_access.rip, kvm_run, tpr_access.rip);
SAME_PLACE(Run, tpr_access.is_write, kvm_run, tpr_access.is_write);
SAME_PLACE(Run, tpr_access.pad, kvm_run, tpr_access.pad);
SAME_PLACE(Run, internal, kvm_run, internal);
SAME_PLACE(Run, internal.suberror, kvm_run, internal.suberror);
SAME_PLACE(Run, internal.count, kvm_run, internal.ndata);
SAME_PLACE(Run, internal.data, kvm_run, internal.data);
SAME_PLACE(Run, emulation_failure, kvm_run, emulation_failure);
SAME_PLACE(Run, emulation_failure.suberror, kvm_run, emulation_failure.suberror);
SAME_PLACE(Run, emulation_failure.ndata, kvm_run, emulation_failure.ndata);
SAME_PLACE(Run, emulation_failure.flags, kvm_run, emulation_failure.flags);
SAME_PLACE(Run, emulation_failure.insn_size, kvm_run, emulation_failure.insn_size);
SAME_PLACE(Run, emulation_failure.insn_bytes, kvm_run, emulation_failure.insn_bytes);
SAME_PLACE(Run, system_event, kvm_run, system_event);
SAME_PLACE(Run, system_event.type, kvm_run, system_event.type);
SAME_PLACE(Run, system_event.ndata, kvm_run, system_event.ndata);
SAME_PLACE(Run, system_event.flags, kvm_run, system_event.flags);
SAME_PLACE(Run, system_event.data, kvm_run, system_event.data);
SAME_PLACE(Run, eoi, kvm_run, eoi);
SAME_PLACE(Run, eoi.vector, kvm_run, eoi.vector);
SAME_PLACE(Run, hyperv, kvm_run, hyperv);
SAME_PLACE(Run, msr, kvm_run, msr);
SAME_PLACE(Run, msr.error, kvm_run, msr.error);
SAME_PLACE(Run, msr.pad, kvm_run, msr.pad);
SAME_PLACE(Run, msr.reason, kvm_run, msr.reason);
SAME_PLACE(Run, msr.index, kvm_run, msr.index);
SAME_PLACE(Run, msr.data, kvm_run, msr.data);
SAME_PLACE(Run, xen, kvm_run, xen);
SAME_PLACE(Run, notify, kvm_run, notify);
SAME_PLACE(Run, notify.flags, kvm_run, notify.flags);
SAME_PLACE(Run, space, kvm_run, padding);
SAME_PLACE(Run, kvm_valid_regs, kvm_run, kvm_valid_regs);
SAME_PLACE(Run, kvm_dirty_regs, kvm_run, kvm_dirty_regs);
SAME_PLACE(Run, s, kvm_run, s);
SAME_PLACE(Run, s.regs, kvm_run, s.regs);
SAME_PLACE(Run, s.padding, kvm_run, s.padding);
AT(Run, hypercall.flags, 96, 8);
AT(Run, memory_fault, 32, 24);
AT(Run, memory_fault.flags, 32, 8);
AT(Run, memory_fault.gpa, 40, 8);
AT(Run, memory_fault.size, 48, 8);
#ifdef KVM_SET_MEMORY_ATTRIBUTES  // 6.8
SAME_PLACE(Run, hypercall.flags, kvm_run, hypercall.flags);
SAME_PLACE(Run, memory_fault, kvm_run, memory_fault);
SAME_PLACE(Run, memory_fault.flags, kvm_run, memory_fault.flags);
SAME_PLACE(Run, memory_fault.gpa, kvm_run, memory_fault.gpa);
SAME_PLACE(Run, memory_fault.size, kvm_run, memory_fault.size);
#endif

class KvmRun : public KvmMachine {
protected:
    void SetUp() override {
        KvmMachine::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        const int size = ::ioctl(kvm_.ref().number(), kGetVcpuMmapSize, 0);
        ASSERT_GE(size, static_cast<int>(sizeof(kvm::Run)));
        shared_ = Mapping::shared(vcpu_.ref(), Bytes(static_cast<std::uint64_t>(size))).value();
    }

    kvm::Run& run() const {
        // SAFETY: the mapping is at least sizeof(kvm::Run) long and laid out by KVM.
        return *reinterpret_cast<kvm::Run*>(shared_.bytes().data());
    }

    /// Runs 16-bit code at kPageAt up to its first exit.
    int go(std::span<const std::uint8_t> code) {
        std::ranges::copy(std::as_bytes(code), memory_.bytes().begin());
        Sregs sregs{};
        EXPECT_EQ(error_of(vcpu_, kGetSregs, &sregs), 0);
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        sregs.ds.base = 0xf'0000;  // where there is no memory
        EXPECT_EQ(error_of(vcpu_, kSetSregs, &sregs), 0);
        Regs regs{};
        regs.rip = kPageAt;
        regs.rflags = 2;
        regs.rax = 0x5a;
        EXPECT_EQ(error_of(vcpu_, kSetRegs, &regs), 0);
        return error_of(vcpu_, kRun, 0);
    }
    ExitReason reason() const { return static_cast<ExitReason>(run().exit_reason); }

    Mapping shared_;
};

TEST_F(KvmRun, AHaltIsAHalt) {
    ASSERT_EQ(go(std::array<std::uint8_t, 1>{0xf4}), 0);  // hlt
    EXPECT_EQ(reason(), ExitReason::Hlt);
}

TEST_F(KvmRun, APortIsToldWithItsData) {
    ASSERT_EQ(go(std::array<std::uint8_t, 3>{0xe6, 0x42, 0xf4}), 0);  // out 0x42, al
    ASSERT_EQ(reason(), ExitReason::Io);
    EXPECT_EQ(run().io.direction, kExitIoOut);
    EXPECT_EQ(run().io.size, 1U);
    EXPECT_EQ(run().io.port, 0x42U);
    EXPECT_EQ(run().io.count, 1U);
    ASSERT_LT(run().io.data_offset, shared_.bytes().size());
    EXPECT_EQ(shared_.bytes()[run().io.data_offset], std::byte{0x5a});
}

TEST_F(KvmRun, AWriteToNoMemoryIsToldWithItsData) {
    ASSERT_EQ(go(std::array<std::uint8_t, 4>{0xa2, 0x34, 0x12, 0xf4}), 0);  // mov [0x1234], al
    ASSERT_EQ(reason(), ExitReason::Mmio);
    EXPECT_EQ(run().mmio.phys_addr, 0xf'1234U);
    EXPECT_EQ(run().mmio.len, 1U);
    EXPECT_EQ(run().mmio.is_write, 1U);
    EXPECT_EQ(run().mmio.data[0], 0x5aU);
}

TEST_F(KvmRun, AnImmediateExitRunsNothing) {
    run().immediate_exit = 1;
    EXPECT_EQ(go(std::array<std::uint8_t, 1>{0xf4}), EINTR);
}

/// The registers of the shared page are those that KVM_GET_REGS reads.
TEST_F(KvmRun, RegistersComeWithTheExitWhereTheyAreAskedFor) {
    const int fields = has(kCapSyncRegs);
    if (fields <= 0) {
        GTEST_SKIP() << "this KVM shares no registers";
    }
    EXPECT_EQ(static_cast<std::uint64_t>(fields) & kSyncX86ValidFields, kSyncX86ValidFields);
    run().kvm_valid_regs = kSyncX86Regs | kSyncX86Sregs;
    ASSERT_EQ(go(std::array<std::uint8_t, 3>{0xe6, 0x42, 0xf4}), 0);
    Regs regs{};
    Sregs sregs{};
    ASSERT_EQ(error_of(vcpu_, kGetRegs, &regs), 0);
    ASSERT_EQ(error_of(vcpu_, kGetSregs, &sregs), 0);
    EXPECT_EQ(std::memcmp(&run().s.regs.regs, &regs, sizeof(regs)), 0);
    EXPECT_EQ(std::memcmp(&run().s.regs.sregs, &sregs, sizeof(sregs)), 0);
    run().kvm_valid_regs = 1ULL << 31U;
    EXPECT_EQ(error_of(vcpu_, kRun, 0), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
