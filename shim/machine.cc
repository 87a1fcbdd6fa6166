#include "shim/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "shim/jail.h"
#include "shim/machine_plan.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

// A file for what a child says on standard error. It grows no further than this: a child that
// babbles is the guest's doing.
constexpr std::size_t kMessagesMax = std::size_t{64} * 1024;

Result<Fd> message_file(const char* name) {
    Fd file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    if (::ftruncate(file.ref().number(), kMessagesMax) != 0 ||
        ::fcntl(file.ref().number(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
        return Error::from_errno(errno, "prepare message file");
    }
    return file;
}

std::string last_line(FdRef messages) {
    std::string text(kMessagesMax, '\0');
    const ssize_t got = ::pread(messages.number(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    text.resize(std::min(text.find('\0'), text.size()));
    while (text.ends_with('\n')) {
        text.pop_back();
    }
    return text.substr(text.rfind('\n') + 1);
}

std::string vmm_reason(const ChildExit& exit, FdRef messages) {
    if (!exit.by_signal) {
        switch (static_cast<vmm::ExitReason>(exit.value)) {
            case vmm::ExitReason::PowerOff:
                return "the guest powered off";
            case vmm::ExitReason::Reset:
                return "the guest reset itself";
            case vmm::ExitReason::TripleFault:
                return "the guest died of a triple fault";
            case vmm::ExitReason::GuestPanic:
                return "the guest kernel panicked";
            case vmm::ExitReason::InternalError:
            case vmm::ExitReason::Usage:
            case vmm::ExitReason::FrontEndGone:
                break;
        }
    }
    const std::string said = last_line(messages);
    return "pepita-vmm: " + to_string(exit) + (said.empty() ? "" : ": " + said);
}

std::string qemu_reason(const ChildExit& exit, FdRef messages) {
    const std::string said = last_line(messages);
    if (!exit.by_signal && exit.value == 0) {
        return "the guest powered off or reset itself";
    }
    // -action panic=exit-failure; a QEMU that fails by itself says why.
    if (!exit.by_signal && exit.value == 1 && said.empty()) {
        return "the guest kernel panicked";
    }
    return "qemu: " + to_string(exit) + (said.empty() ? "" : ": " + said);
}

}  // namespace

Machine::~Machine() = default;

int Machine::pid() const { return (qemu_ ? qemu_ : vmm_)->child.pid(); }

Result<void> Machine::start_vmm(const MachinePlan& plan, const MachinePaths& paths,
                                std::vector<PassedFd> fds) {
    Fd messages = TRY(message_file("pepita-vmm"));
    const Fd program = TRY(open_file(paths.vmm.c_str(), O_RDONLY));
    SpawnOptions options;
    options.executable = program.ref();
    options.arguments = vmm::to_arguments(plan.vmm);
    options.arguments.insert(options.arguments.begin(), "pepita-vmm");
    options.fds = std::move(fds);
    options.fds.push_back({.fd = messages.ref(), .number = 2});
    options.namespaces = jail_namespaces();
    options.prepare = [directory = paths.directory, user = jail_user(::getpid())] {
        return enter_jail(directory, user);
    };
    vmm_ = std::make_unique<Process>(
        Process{.name = "pepita-vmm",
                .child = TRY(spawn(std::move(options)), "start pepita-vmm"),
                .messages = std::move(messages),
                .watch = {},
                .exit = {},
                .is_over = false});
    return {};
}

Result<void> Machine::start_qemu(const MachinePlan& plan, const MachinePaths& paths,
                                 std::vector<PassedFd> fds) {
    Fd messages = TRY(message_file("qemu"));
    SpawnOptions options;
    options.path = paths.qemu;
    options.arguments = plan.qemu_arguments;
    options.arguments.insert(options.arguments.begin(), paths.qemu);
    options.environment = {"PATH=/usr/bin:/bin"};
    options.fds = std::move(fds);
    options.fds.push_back({.fd = messages.ref(), .number = 2});
    options.namespaces = jail_namespaces() & ~static_cast<std::uint64_t>(CLONE_NEWPID);
    options.prepare = [user = jail_user(::getpid())] { return drop_privileges(user); };
    qemu_ = std::make_unique<Process>(Process{.name = "qemu",
                                              .child = TRY(spawn(std::move(options)), "start QEMU"),
                                              .messages = std::move(messages),
                                              .watch = {},
                                              .exit = {},
                                              .is_over = false});
    return {};
}

Result<void> Machine::watch(EventLoop& loop, Process& process) {
    process.watch = TRY(loop.watch(process.child.pidfd(), EPOLLIN,
                                   [this, &process](std::uint32_t) { on_exit(process); }));
    return {};
}

Result<std::unique_ptr<Machine>> Machine::start(EventLoop& loop, const MachinePlan& plan,
                                                MachineFiles files, const MachinePaths& paths,
                                                OnEnd on_end) {
    std::unique_ptr<Machine> machine(new Machine(std::move(on_end)));
    std::vector<PassedFd> for_vmm{
        {.fd = files.root_disk.ref(), .number = VmmFds::kRootDisk},
        {.fd = files.vsock_listener.ref(), .number = VmmFds::kVsockListener}};
    if (files.scratch_base) {
        for_vmm.push_back({.fd = files.scratch_base.ref(), .number = VmmFds::kScratchBase});
    }
    if (plan.qemu_arguments.empty()) {
        for_vmm.push_back({.fd = files.kvm.ref(), .number = VmmFds::kKvm});
        for_vmm.push_back({.fd = files.kernel.ref(), .number = VmmFds::kKernel});
        for_vmm.push_back({.fd = files.initrd.ref(), .number = VmmFds::kInitrd});
        if (files.console) {
            for_vmm.push_back({.fd = files.console.ref(), .number = VmmFds::kConsole});
        }
        TRY(machine->start_vmm(plan, paths, std::move(for_vmm)));
        TRY(machine->watch(loop, *machine->vmm_));
        return machine;
    }
    const auto [disk_front, disk_back] = TRY(socket_pair());
    const auto [scratch_front, scratch_back] = TRY(socket_pair());
    const auto [vsock_front, vsock_back] = TRY(socket_pair());
    const auto [entropy_front, entropy_back] = TRY(socket_pair());
    for_vmm.push_back({.fd = disk_front.ref(), .number = VmmFds::kDiskFrontEnd});
    for_vmm.push_back({.fd = vsock_front.ref(), .number = VmmFds::kVsockFrontEnd});
    for_vmm.push_back({.fd = entropy_front.ref(), .number = VmmFds::kEntropyFrontEnd});
    if (files.scratch_base) {
        for_vmm.push_back({.fd = scratch_front.ref(), .number = VmmFds::kScratchFrontEnd});
    }
    TRY(machine->start_vmm(plan, paths, std::move(for_vmm)));
    std::vector<PassedFd> for_qemu{{.fd = files.kernel.ref(), .number = QemuFds::kKernel},
                                   {.fd = files.initrd.ref(), .number = QemuFds::kInitrd},
                                   {.fd = disk_back.ref(), .number = QemuFds::kDiskBackEnd},
                                   {.fd = vsock_back.ref(), .number = QemuFds::kVsockBackEnd},
                                   {.fd = entropy_back.ref(), .number = QemuFds::kEntropyBackEnd}};
    if (files.scratch_base) {
        for_qemu.push_back({.fd = scratch_back.ref(), .number = QemuFds::kScratchBackEnd});
    }
    if (files.console) {
        for_qemu.push_back({.fd = files.console.ref(), .number = QemuFds::kConsole});
    }
    TRY(machine->start_qemu(plan, paths, std::move(for_qemu)));
    TRY(machine->watch(loop, *machine->vmm_));
    TRY(machine->watch(loop, *machine->qemu_));
    return machine;
}

void Machine::kill() {
    for (Process* process : {vmm_.get(), qemu_.get()}) {
        if (process != nullptr && !process->is_over) {
            process->child.send_signal(SIGKILL);
        }
    }
}

void Machine::on_exit(Process& process) {
    process.watch.cancel();
    process.exit = process.child.reap();
    process.is_over = true;
    if (vmm_->is_over && (!qemu_ || qemu_->is_over)) {
        // The callback may give this object up.
        OnEnd done = std::move(on_end_);
        const MachineEnd end = how_it_ended();
        done(end);
        return;
    }
    // Without its devices QEMU has no guest worth running; without QEMU the devices end themselves.
    if (vmm_->is_over) {
        qemu_->child.send_signal(SIGKILL);
    }
}

MachineEnd Machine::how_it_ended() const {
    const bool vmm_failed = vmm_->exit.by_signal || vmm_->exit.value != 0;
    if (!qemu_) {
        return {.is_power_off = !vmm_failed,
                .reason = vmm_reason(vmm_->exit, vmm_->messages.ref())};
    }
    const auto front_end_gone =
        ChildExit{.by_signal = false, .value = static_cast<int>(vmm::ExitReason::FrontEndGone)};
    if (vmm_failed && vmm_->exit != front_end_gone) {
        return {.is_power_off = false, .reason = vmm_reason(vmm_->exit, vmm_->messages.ref())};
    }
    return {.is_power_off = qemu_->exit == ChildExit{},
            .reason = qemu_reason(qemu_->exit, qemu_->messages.ref())};
}

}  // namespace pepita::shim
