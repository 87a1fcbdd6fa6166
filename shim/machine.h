#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "shim/machine_plan.h"

namespace pepita::shim {

/// The open files a machine is given; each goes to the process that needs it and is closed here.
struct MachineFiles {
    Fd kvm;     // where pepita-vmm runs the guest itself
    Fd kernel;  // vmlinux
    Fd initrd;
    Fd root_disk;
    Fd scratch_base;  // or none
    Fd vsock_listener;
    Fd console;  // or none
};

struct MachinePaths {
    std::string vmm;        // the program pepita-vmm, static
    std::string qemu;       // the program; only with TCG
    std::string directory;  // all that pepita-vmm sees of the file system
};

/// How a machine ended.
struct MachineEnd {
    bool is_power_off = false;  // the guest turned itself off, as a guest that was asked to does
    std::string reason;         // for people: "the guest kernel panicked"
};

/// The processes of one running machine. They die with this, and with the shim.
class Machine {
public:
    using OnEnd = std::move_only_function<void(const MachineEnd&)>;

    /// `on_end` is called once, when every process is over; the machine may go in that call.
    /// Errors: a program that cannot be started, by name.
    static Result<std::unique_ptr<Machine>> start(EventLoop& loop, const MachinePlan& plan,
                                                  MachineFiles files, const MachinePaths& paths,
                                                  OnEnd on_end);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    Machine(Machine&&) = delete;
    Machine& operator=(Machine&&) = delete;
    ~Machine();

    /// The process whose death is the guest's: QEMU's with TCG, else pepita-vmm's.
    int pid() const;

    /// Ends it now. on_end follows.
    void kill();

private:
    struct Process {
        const char* name;
        Child child;
        Fd messages;  // its standard error
        EventLoop::Watch watch;
        ChildExit exit;
        bool is_over = false;
    };
    explicit Machine(OnEnd on_end) : on_end_(std::move(on_end)) {}
    Result<void> start_vmm(const MachinePlan& plan, const MachinePaths& paths,
                           std::vector<PassedFd> fds);
    Result<void> start_qemu(const MachinePlan& plan, const MachinePaths& paths,
                            std::vector<PassedFd> fds);
    Result<void> watch(EventLoop& loop, Process& process);
    void on_exit(Process& process);
    MachineEnd how_it_ended() const;

    OnEnd on_end_;
    std::unique_ptr<Process> vmm_;
    std::unique_ptr<Process> qemu_;  // with TCG
};

}  // namespace pepita::shim
