#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "shim/jail.h"
#include "shim/machine_plan.h"
#include "shim/qmp.h"
#include "shim/vmm_control.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::shim {

struct MachinePaths {
    std::string vmm;        // the program pepita-vmm, static
    std::string qemu;       // the program; only with TCG
    std::string directory;  // all that pepita-vmm sees of the file system
    JailUser user{};        // both programs'
    /// A listening socket in it that QEMU may connect to. Null: no device has a netdev.
    std::function<Result<Fd>(const std::string& name)> listen;
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
    static Result<std::unique_ptr<Machine>> start(EventLoop& loop, MachinePlan plan,
                                                  const MachinePaths& paths, OnEnd on_end);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    Machine(Machine&&) = delete;
    Machine& operator=(Machine&&) = delete;
    ~Machine();

    /// The process whose death is the guest's: QEMU's with TCG, else pepita-vmm's.
    int pid() const;
    /// pepita-vmm's.
    int vmm_pid() const { return vmm_->child.pid(); }

    /// Ends it now. on_end follows.
    void kill();

    /// Gets an Error with the reason of pepita-vmm or QEMU. It may not destroy the machine.
    using OnDone = std::move_only_function<void(Result<void>)>;
    using OnAttached = std::move_only_function<void(Result<std::string>)>;

    /// Attaches a device while the guest runs; the guest finds it by a rescan. `done` gets its PCI
    /// address in the guest, or "" with TCG, where QEMU chooses it.
    void attach(vmm::DeviceConfig device, OnAttached done);
    /// Detaches a device that was attached, once the guest has released it: with KVM one that is
    /// still in use is refused, with TCG it is not.
    void detach(std::string id, OnDone done);
    /// The disk has the size of its file from now on.
    void resize(std::string id, OnDone done);
    void pause(OnDone done);
    void resume(OnDone done);

private:
    struct Process {
        const char* name;
        Child child;
        Fd messages;  // its standard error
        EventLoop::Watch watch;
        ChildExit exit;
        bool is_over = false;
    };
    Machine(EventLoop& loop, OnEnd on_end) : loop_(loop), on_end_(std::move(on_end)) {}
    /// A slot behind one of kHotplugBridges, and the device in it.
    struct Slot {
        std::size_t bridge;
        std::size_t number;
        std::string device;
    };
    /// A device that QEMU asked the guest to let go.
    struct Removal {
        std::string id;
        OnDone done;
        EventLoop::Timer deadline;
    };
    /// A device as QEMU is told of it: vmm::qemu_device_of(), vmm::qemu_netdev_of().
    struct QemuDevice {
        std::string driver;
        std::string netdev;
    };
    /// A command, and what undoes it.
    struct QemuStep {
        std::string command;
        std::string arguments;
        std::string undo;
        std::string undo_arguments;
    };
    Result<void> start_vmm(vmm::MachineConfig& config, const MachinePaths& paths);
    Result<void> start_qemu(const QemuPlan& plan, const MachinePaths& paths);
    Result<void> watch(Process& process);
    Slot* take_slot(const std::string& device);
    void free_slot(const std::string& device);
    void plug(const std::string& id, const QemuDevice& device, Fd back_end, OnAttached done);
    void execute(std::vector<QemuStep> steps, std::size_t next, OnDone done);
    void unplug(std::string id, OnDone done);
    void on_event(const std::string& event, const std::string& device);
    void abandon_removal(const std::string& name, Error why);
    void on_exit(Process& process);
    MachineEnd how_it_ended() const;

    /// The sockets of a device: one end, which pepita-vmm gets, and one for QEMU unless that
    /// connects by itself.
    Result<Fd> make_sockets(vmm::DeviceConfig& device);

    EventLoop& loop_;
    OnEnd on_end_;
    std::function<Result<Fd>(const std::string& name)> listen_;
    int directory_number_ = -1;  // QEMU's
    std::unique_ptr<Process> vmm_;
    std::unique_ptr<Process> qemu_;  // with TCG
    EventLoop::Timer qemu_end_;
    std::unique_ptr<VmmControl> control_;
    std::unique_ptr<Qmp> qmp_;  // with TCG
    std::vector<Slot> slots_;
    std::vector<Removal> removals_;
};

}  // namespace pepita::shim
