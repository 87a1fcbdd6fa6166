#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/virtio/guest_memory.h"

namespace pepita::vmm {

enum class VcpuIndex : std::uint32_t {};

/// Why a vCPU waits for us.
struct VcpuExit {
    enum class Kind : std::uint8_t { Port, Memory, TripleFault, Failed };
    enum class Way : std::uint8_t { Read, Write };

    Kind kind = Kind::Failed;
    Way way = Way::Read;
    std::uint64_t address = 0;    // or the port
    std::size_t access_size = 0;  // of one access; `data` holds one or, for ports, several
    std::span<std::byte> data;    // in the vCPU's own page: an answer is written here
    std::string failure;          // Failed: what KVM said
};

/// One virtual processor and its thread, which does nothing but KVM_RUN and answer its exits.
///
/// Where an answer needs the device loop, the thread signals exited() and sleeps until resume().
/// That costs three to four times the exit, so it is for what changes a device's state.
/// Thread: the device loop's, but for what start() is given.
class Vcpu {
public:
    /// Errors: KVM's.
    static Result<std::unique_ptr<Vcpu>> create(FdRef kvm, FdRef vm, VcpuIndex index);
    Vcpu(const Vcpu&) = delete;
    Vcpu& operator=(const Vcpu&) = delete;
    Vcpu(Vcpu&&) = delete;
    Vcpu& operator=(Vcpu&&) = delete;
    ~Vcpu();

    VcpuIndex index() const { return index_; }

    /// Before start(), and CPUID before the rest: what an MSR may hold depends on it.
    Result<void> set_cpuid(std::span<const abi::kvm::CpuidEntry> entries);
    Result<void> set_boot_msrs();
    /// The state at a PVH entry: 32-bit, flat, no paging, EBX = `start_info`.
    Result<void> set_pvh_entry(virtio::GuestAddress entry, virtio::GuestAddress start_info);

    /// What the new thread does before its first KVM_RUN (its system call filter).
    using Prepare = Result<void> (*)();
    /// Answers an exit on the vCPU's thread, behind that filter. True where the guest may go on;
    /// what it leaves in the exit is for take_exit().
    using Answer = std::move_only_function<bool(VcpuExit&)>;

    /// Starts the thread; it stops before the guest's first instruction, until resume().
    /// Port and memory exits go to `answer` first; the others wait at once.
    Result<void> start(Prepare prepare, Answer answer);

    /// Readable while the vCPU waits; take_exit() says for what.
    FdRef exited() const { return exited_.ref(); }
    VcpuExit take_exit();
    /// Lets a vCPU go on that was started or paused, or whose exit was taken. Nothing for one whose
    /// exit has not been taken yet.
    void resume();
    /// Returns when the thread is out of the guest and waits, for resume() or with an exit.
    void pause();
    /// Ends the thread wherever it is. It cannot be started again.
    void stop();

private:
    enum class State : std::uint32_t { Running, Waiting, Stopped };

    Vcpu(VcpuIndex index, Fd vcpu, Mapping run, Fd exited);
    void run(Prepare prepare);
    bool run_guest();
    bool wait_for_resume() const;
    void interrupt();
    abi::kvm::Run& shared() const;
    VcpuExit read_exit() const;
    VcpuExit port_exit() const;

    const VcpuIndex index_;
    Fd vcpu_;
    Mapping run_;
    Fd exited_;
    std::atomic<State> state_ = State::Waiting;
    std::atomic<bool> is_pause_wanted_ = false;
    // The thread's until it waits, then take_exit()'s: state_ hands them over.
    Answer answer_;
    VcpuExit exit_;
    bool has_exit_ = false;
    int run_error_ = 0;  // errno of KVM_RUN
    Thread thread_;
};

}  // namespace pepita::vmm
