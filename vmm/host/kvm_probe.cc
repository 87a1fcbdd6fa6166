#include "vmm/host/kvm_probe.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"

namespace pepita::vmm {
namespace {

namespace kvm = abi::kvm;
using Clock = std::chrono::steady_clock;

constexpr int kDeadlineMs = 2000;
constexpr std::uint64_t kCodeAt = 0x1000;
constexpr unsigned kRounds = 8;
constexpr std::uint16_t kTurns = 500;
constexpr unsigned kInstructions = 2 * kTurns;  // dec and jnz

// Real mode: 1: dec cx; jnz 1b; 2: hlt; jmp 2b
constexpr std::array<std::uint8_t, 6> kCode = {0x49, 0x75, 0xfd, 0xf4, 0xeb, 0xfd};

/// A machine of one page and one processor, without interrupt controller: HLT comes back to us.
struct Scratch {
    Mapping memory;
    Fd vm;
    Fd vcpu;
    Mapping run_page;

    kvm::Run& run() const {
        // SAFETY: mapped from the vCPU, at least sizeof(Run) long.
        return *reinterpret_cast<kvm::Run*>(run_page.bytes().data());
    }
};

Result<Scratch> make_scratch(FdRef kvm) {
    Scratch scratch;
    scratch.memory = TRY(Mapping::anonymous(kPageSize));
    std::ranges::copy(std::as_bytes(std::span(kCode)), scratch.memory.bytes().begin());
    scratch.vm = Fd(::ioctl(kvm.number(), kvm::kCreateVm, 0));
    if (!scratch.vm) {
        return Error::from_errno(errno, "KVM_CREATE_VM");
    }
    // SAFETY: the mapping outlives the machine (declared before it).
    kvm::UserMemoryRegion region{
        .slot = 0,
        .flags = 0,
        .guest_phys_addr = kCodeAt,
        .memory_size = scratch.memory.bytes().size(),
        .userspace_addr = reinterpret_cast<std::uint64_t>(scratch.memory.bytes().data())};
    if (::ioctl(scratch.vm.ref().number(), kvm::kSetUserMemoryRegion, &region) < 0) {
        return Error::from_errno(errno, "KVM_SET_USER_MEMORY_REGION");
    }
    scratch.vcpu = Fd(::ioctl(scratch.vm.ref().number(), kvm::kCreateVcpu, 0));
    const int size = ::ioctl(kvm.number(), kvm::kGetVcpuMmapSize, 0);
    if (!scratch.vcpu || size < static_cast<int>(sizeof(kvm::Run))) {
        return Error::from_errno(errno, "KVM_CREATE_VCPU");
    }
    scratch.run_page =
        TRY(Mapping::shared(scratch.vcpu.ref(), Bytes(static_cast<std::uint64_t>(size))));
    return scratch;
}

/// The state at reset has CS at 4 GiB; ours is at 0.
Result<void> reset(const Scratch& scratch, std::uint16_t turns) {
    const int vcpu = scratch.vcpu.ref().number();
    kvm::Sregs sregs{};
    if (::ioctl(vcpu, kvm::kGetSregs, &sregs) < 0) {
        return Error::from_errno(errno, "KVM_GET_SREGS");
    }
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (::ioctl(vcpu, kvm::kSetSregs, &sregs) < 0) {
        return Error::from_errno(errno, "KVM_SET_SREGS");
    }
    kvm::Regs regs{};
    regs.rip = kCodeAt;
    regs.rcx = turns;
    regs.rflags = 2;
    if (::ioctl(vcpu, kvm::kSetRegs, &regs) < 0) {
        return Error::from_errno(errno, "KVM_SET_REGS");
    }
    return {};
}

Result<Clock::duration> time_turns(const Scratch& scratch, std::uint16_t turns) {
    TRY(reset(scratch, turns));
    const auto start = Clock::now();
    if (::ioctl(scratch.vcpu.ref().number(), kvm::kRun, 0) < 0) {
        return Error::from_errno(errno, "KVM_RUN");
    }
    const auto took = Clock::now() - start;
    if (static_cast<kvm::ExitReason>(scratch.run().exit_reason) != kvm::ExitReason::Hlt) {
        return Error(Code::Unsupported,
                     "KVM exit " + std::to_string(scratch.run().exit_reason) + " instead of HLT");
    }
    return took;
}

/// One turn more or less costs an exit all the same: what it costs is not what is asked for.
Result<KvmProbe> measure(const Scratch& scratch) {
    // Each is the best of several: noise only ever makes a run slower.
    Clock::duration exit_alone = Clock::duration::max();
    for (unsigned round = 0; round < kRounds; ++round) {
        exit_alone = std::min(exit_alone, TRY(time_turns(scratch, 1)));
    }
    KvmProbe probe{.per_instruction = std::chrono::nanoseconds::max()};
    for (unsigned round = 0; round < kRounds && !probe.is_usable(); ++round) {
        const auto loop = TRY(time_turns(scratch, kTurns)) - exit_alone;
        const auto each =
            std::chrono::duration_cast<std::chrono::nanoseconds>(loop) / kInstructions;
        probe.per_instruction =
            std::min(probe.per_instruction, std::max(each, std::chrono::nanoseconds::zero()));
    }
    return probe;
}

}  // namespace

Result<KvmProbe> probe_kvm(const char* device) {
    const Fd kvm = TRY(open_file(device, O_RDWR));
    const Scratch scratch = TRY(make_scratch(kvm.ref()));
    const Fd done = TRY(create_eventfd());
    Result<KvmProbe> result = Error(Code::Internal, "the probe did not run");
    // On a thread of its own: a guest that spins is beyond any timeout of ours but a signal.
    Thread thread = TRY(Thread::start("kvm-probe", [&] {
        result = measure(scratch);
        signal_eventfd(done.ref());
    }));
    pollfd wait = {.fd = done.ref().number(), .events = POLLIN, .revents = 0};
    const bool in_time = ::poll(&wait, 1, kDeadlineMs) == 1;
    if (!in_time) {
        scratch.run().immediate_exit = 1;
        thread.interrupt();
    }
    thread.join();
    if (!in_time) {
        return Error(Code::DeadlineExceeded,
                     "a few thousand instructions of a guest's kernel mode take over 2 s");
    }
    return result;
}

std::string describe(const Result<KvmProbe>& probe) {
    if (!probe) {
        return probe.error().message();
    }
    const std::string cost = std::to_string(probe->per_instruction.count()) + " ns";
    return probe->is_usable() ? "usable: " + cost + " an instruction of a guest's kernel mode"
                              : "a guest's kernel mode is interpreted here, " + cost +
                                    " an instruction: Linux would seem to hang";
}

}  // namespace pepita::vmm
