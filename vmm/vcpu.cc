#include "vmm/vcpu.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/hex.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::vmm {
namespace {

namespace kvm = abi::kvm;

constexpr std::uint64_t kCr0ProtectedMode = 0x11;  // PE, ET

// Intel SDM 4: without fast strings memcpy crawls, without default write-back RAM is uncached.
constexpr std::array kBootMsrs = {
    kvm::MsrEntry{.index = 0x1a0, .reserved = 0, .data = 1},                 // MISC_ENABLE
    kvm::MsrEntry{.index = 0x2ff, .reserved = 0, .data = (1U << 11U) | 6U},  // MTRRdefType
};

Result<void> call(FdRef fd, unsigned long request, void* argument, const char* name) {
    if (::ioctl(fd.number(), request, argument) < 0) {
        return Error::from_errno(errno, name);
    }
    return {};
}

kvm::Segment flat(std::uint16_t selector, std::uint8_t type) {
    return {.base = 0,
            .limit = 0xffff'ffff,
            .selector = selector,
            .type = type,
            .present = 1,
            .dpl = 0,
            .db = 1,
            .s = 1,
            .l = 0,
            .g = 1,
            .avl = 0,
            .unusable = 0,
            .padding = 0};
}

std::string describe(const kvm::Run& run) {
    const auto reason = static_cast<kvm::ExitReason>(run.exit_reason);
    if (reason == kvm::ExitReason::InternalError) {
        return "KVM internal error " + std::to_string(run.internal.suberror);
    }
    if (reason == kvm::ExitReason::FailEntry) {
        return "KVM cannot enter the guest, hardware reason " + hex(run.fail_entry.hardware_reason);
    }
    return "KVM exit " + std::to_string(run.exit_reason) + " that we do not know";
}

}  // namespace

Result<std::unique_ptr<Vcpu>> Vcpu::create(FdRef kvm, FdRef vm, VcpuIndex index) {
    const int size = ::ioctl(kvm.number(), kvm::kGetVcpuMmapSize, 0);
    if (size < static_cast<int>(sizeof(kvm::Run))) {
        return Error::from_errno(errno, "KVM_GET_VCPU_MMAP_SIZE");
    }
    Fd vcpu(::ioctl(vm.number(), kvm::kCreateVcpu, std::to_underlying(index)));
    if (!vcpu) {
        return Error::from_errno(errno, "KVM_CREATE_VCPU");
    }
    Mapping run = TRY(Mapping::shared(vcpu.ref(), Bytes(static_cast<std::uint64_t>(size))));
    Fd exited = TRY(create_eventfd());
    return std::unique_ptr<Vcpu>(
        new Vcpu(index, std::move(vcpu), std::move(run), std::move(exited)));
}

Vcpu::Vcpu(VcpuIndex index, Fd vcpu, Mapping run, Fd exited)
    : index_(index), vcpu_(std::move(vcpu)), run_(std::move(run)), exited_(std::move(exited)) {}

Vcpu::~Vcpu() { stop(); }

Result<void> Vcpu::set_cpuid(std::span<const kvm::CpuidEntry> entries) {
    auto table = std::make_unique<kvm::Cpuid>();
    if (entries.size() > table->entries.size()) {
        return Error(Code::ResourceExhausted, "more CPUID leaves than KVM takes");
    }
    table->count = static_cast<std::uint32_t>(entries.size());
    std::ranges::copy(entries, table->entries.begin());
    return call(vcpu_.ref(), kvm::kSetCpuid2, table.get(), "KVM_SET_CPUID2");
}

Result<void> Vcpu::set_boot_msrs() {
    kvm::Msrs msrs{};
    msrs.count = kBootMsrs.size();
    std::ranges::copy(kBootMsrs, msrs.entries.begin());
    const int set = ::ioctl(vcpu_.ref().number(), kvm::kSetMsrs, &msrs);
    if (set < 0) {
        return Error::from_errno(errno, "KVM_SET_MSRS");
    }
    if (static_cast<std::size_t>(set) < kBootMsrs.size()) {
        const std::uint32_t refused = kBootMsrs.at(static_cast<std::size_t>(set)).index;
        return Error(Code::Unsupported, "KVM_SET_MSRS: MSR " + hex(refused) + " is refused");
    }
    return {};
}

Result<void> Vcpu::set_pvh_entry(virtio::GuestAddress entry, virtio::GuestAddress start_info) {
    kvm::Sregs sregs{};
    TRY(call(vcpu_.ref(), kvm::kGetSregs, &sregs, "KVM_GET_SREGS"));
    sregs.cs = flat(0x08, 0xb);  // execute, read, accessed
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(0x10, 0x3);
    sregs.tr = {.base = 0,
                .limit = 0x67,
                .selector = 0x18,
                .type = 0xb,
                .present = 1,
                .dpl = 0,
                .db = 0,
                .s = 0,
                .l = 0,
                .g = 0,
                .avl = 0,
                .unusable = 0,
                .padding = 0};
    sregs.cr0 = kCr0ProtectedMode;
    sregs.cr3 = sregs.cr4 = sregs.efer = 0;
    TRY(call(vcpu_.ref(), kvm::kSetSregs, &sregs, "KVM_SET_SREGS"));
    kvm::Regs regs{};
    regs.rip = std::to_underlying(entry);
    regs.rbx = std::to_underlying(start_info);
    regs.rflags = 2;  // the bit that is always set; interrupts are off
    return call(vcpu_.ref(), kvm::kSetRegs, &regs, "KVM_SET_REGS");
}

Result<void> Vcpu::start(Prepare prepare, Answer answer) {
    CHECK(!thread_);
    answer_ = std::move(answer);
    thread_ = TRY(Thread::start("vcpu-" + std::to_string(std::to_underlying(index_)),
                                [this, prepare] { run(prepare); }));
    return {};
}

kvm::Run& Vcpu::shared() const {
    // SAFETY: the mapping is at least sizeof(Run) long, page-aligned and laid out by KVM.
    return *reinterpret_cast<kvm::Run*>(run_.bytes().data());
}

void Vcpu::run(Prepare prepare) {
    const Result<void> prepared = prepare();
    if (!prepared) {
        exit_.failure = prepared.error().message();
    }
    while (wait_for_resume()) {
        // Without its filter the thread runs no guest.
        has_exit_ = !prepared || !run_guest();
        // Pairs with the release in pause().
        if (!has_exit_ && !is_pause_wanted_.load(std::memory_order_acquire)) {
            continue;
        }
        const bool has_exit = has_exit_;  // the loop's from here on
        State expected = State::Running;
        // Pairs with the acquire in take_exit(): the loop sees the exit and the shared page.
        if (!state_.compare_exchange_strong(expected, State::Waiting, std::memory_order_acq_rel)) {
            continue;
        }
        if (has_exit) {
            signal_eventfd(exited_.ref());
        }
        state_.notify_one();  // pause()
    }
}

/// Until the next exit. False where it is the loop's to answer. Allocates nothing: the filter may
/// not let it.
bool Vcpu::run_guest() {
    if (::ioctl(vcpu_.ref().number(), kvm::kRun, 0) != 0) {
        // EINTR is the signal of stop() or pause(); EAGAIN comes while this processor waits for its
        // INIT.
        run_error_ = errno == EINTR || errno == EAGAIN ? 0 : errno;
        return run_error_ == 0;
    }
    exit_ = read_exit();
    const bool is_access =
        exit_.kind == VcpuExit::Kind::Port || exit_.kind == VcpuExit::Kind::Memory;
    return is_access && answer_(exit_);
}

/// False where the machine ends.
bool Vcpu::wait_for_resume() const {
    state_.wait(State::Waiting, std::memory_order_acquire);
    return state_.load(std::memory_order_acquire) == State::Running;
}

VcpuExit Vcpu::take_exit() {
    (void)drain_eventfd(exited_.ref());
    CHECK(state_.load(std::memory_order_acquire) == State::Waiting);
    VcpuExit exit = std::exchange(exit_, {});
    has_exit_ = false;
    if (run_error_ != 0) {
        exit = {.data = {}, .failure = Error::from_errno(run_error_, "KVM_RUN").message()};
    } else if (exit.kind == VcpuExit::Kind::Failed && exit.failure.empty()) {
        exit.failure = describe(shared());
    }
    return exit;
}

VcpuExit Vcpu::read_exit() const {
    kvm::Run& run = shared();
    const auto reason = static_cast<kvm::ExitReason>(run.exit_reason);
    if (reason == kvm::ExitReason::Io) {
        return port_exit();
    }
    if (reason == kvm::ExitReason::Mmio) {
        CHECK(run.mmio.len <= run.mmio.data.size());
        return {.kind = VcpuExit::Kind::Memory,
                .way = run.mmio.is_write != 0 ? VcpuExit::Way::Write : VcpuExit::Way::Read,
                .address = run.mmio.phys_addr,
                .access_size = run.mmio.len,
                .data = std::as_writable_bytes(std::span(run.mmio.data)).first(run.mmio.len),
                .failure = {}};
    }
    if (reason == kvm::ExitReason::Shutdown) {
        return {.kind = VcpuExit::Kind::TripleFault, .data = {}, .failure = {}};
    }
    return {.data = {}, .failure = {}};
}

VcpuExit Vcpu::port_exit() const {
    const kvm::IoExit& io = shared().io;
    const std::size_t size = std::size_t{io.size} * io.count;
    CHECK(io.data_offset <= run_.bytes().size());
    CHECK(size <= run_.bytes().size() - io.data_offset);
    return {.kind = VcpuExit::Kind::Port,
            .way = io.direction != 0 ? VcpuExit::Way::Write : VcpuExit::Way::Read,
            .address = io.port,
            .access_size = io.size,
            .data = run_.bytes().subspan(io.data_offset, size),
            .failure = {}};
}

void Vcpu::resume() {
    // Only a waiting thread leaves has_exit_ alone.
    if (state_.load(std::memory_order_acquire) != State::Waiting || has_exit_) {
        return;
    }
    is_pause_wanted_.store(false, std::memory_order_relaxed);  // published by state_
    shared().immediate_exit = 0;
    State expected = State::Waiting;
    // Pairs with the acquire in wait_for_resume(): the vCPU sees what was read for it.
    if (state_.compare_exchange_strong(expected, State::Running, std::memory_order_acq_rel)) {
        state_.notify_one();
    }
}

void Vcpu::pause() {
    is_pause_wanted_.store(true, std::memory_order_release);  // pairs with the acquire in run()
    interrupt();
    state_.wait(State::Running, std::memory_order_acquire);
}

void Vcpu::stop() {
    state_.store(State::Stopped, std::memory_order_release);
    state_.notify_one();
    if (thread_) {
        interrupt();
        thread_.join();
    }
}

/// Ends KVM_RUN: by the flag where it has not begun yet, by the signal where it has.
void Vcpu::interrupt() {
    shared().immediate_exit = 1;
    thread_.interrupt();
}

}  // namespace pepita::vmm
