#include "shim/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/hex.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "shim/child_messages.h"
#include "shim/jail.h"
#include "shim/machine_plan.h"
#include "shim/qmp.h"
#include "shim/vmm_control.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

PassedFd passed(const vmm::NumberedFd& fd) { return {.fd = fd.fd.ref(), .number = fd.number}; }

// A guest that was told to let go has done so before; QEMU itself takes less than a second.
constexpr std::chrono::seconds kRemovalDeadline(10);

/// QEMU closes its connections and ends; a busy host lets seconds pass in between.
constexpr std::chrono::seconds kQemuEndDeadline(10);

constexpr ChildExit kFrontEndGone{.by_signal = false,
                                  .value = static_cast<int>(vmm::ExitReason::FrontEndGone)};

/// A reply whose text says nothing more.
VmmControl::OnReply without_text(Machine::OnDone done) {
    return [done = std::move(done)](Result<std::string> reply) mutable {
        done(reply ? Result<void>() : Result<void>(std::move(reply).error()));
    };
}

/// A value of an option as QMP has it: numbers and truth bare, other text quoted.
std::string json_of(std::string_view value) {
    const bool is_number =
        !value.empty() && value.find_first_not_of("0123456789") == std::string_view::npos;
    const bool is_bare = is_number || value == "true" || value == "false";
    return is_bare ? std::string(value) : "\"" + std::string(value) + "\"";
}

/// A -device or -netdev argument, "driver,key=value", as members of a QMP command's arguments.
std::string members_of(std::string_view name, std::string_view device) {
    std::string text =
        "\"" + std::string(name) + "\":\"" + std::string(device.substr(0, device.find(','))) + "\"";
    for (std::size_t comma = device.find(','); comma != std::string_view::npos;
         comma = device.find(',', comma + 1)) {
        const std::string_view option =
            device.substr(comma + 1, device.find(',', comma + 1) - comma - 1);
        const std::size_t equals = option.find('=');
        text.append(",\"").append(option.substr(0, equals)).append("\":");
        text.append(json_of(option.substr(equals + 1)));
    }
    return text;
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

Result<void> Machine::start_vmm(vmm::MachineConfig& config, const MachinePaths& paths) {
    Fd messages = TRY(message_file("pepita-vmm"));
    const Fd program = TRY(open_file(paths.vmm.c_str(), O_RDONLY));
    SpawnOptions options;
    options.executable = program.ref();
    options.arguments = vmm::to_arguments(config);
    options.arguments.insert(options.arguments.begin(), "pepita-vmm");
    vmm::for_each_fd(config,
                     [&options](vmm::NumberedFd& fd) { options.fds.push_back(passed(fd)); });
    options.fds.push_back({.fd = messages.ref(), .number = 2});
    options.namespaces = jail_namespaces();
    options.prepare = [directory = paths.directory, user = paths.user] {
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

Result<void> Machine::start_qemu(const QemuPlan& plan, const MachinePaths& paths) {
    Fd messages = TRY(message_file("qemu"));
    SpawnOptions options;
    options.path = paths.qemu;
    options.arguments = plan.arguments;
    options.arguments.insert(options.arguments.begin(), paths.qemu);
    options.environment = {"PATH=/usr/bin:/bin"};
    std::ranges::transform(plan.files, std::back_inserter(options.fds), passed);
    for (const vmm::NumberedFd& back_end : plan.back_ends) {
        if (back_end.fd) {
            options.fds.push_back(passed(back_end));
        }
    }
    options.fds.push_back(passed(plan.qmp));
    options.fds.push_back(passed(plan.directory));
    options.fds.push_back({.fd = messages.ref(), .number = 2});
    options.namespaces = jail_namespaces() & ~static_cast<std::uint64_t>(CLONE_NEWPID);
    options.prepare = [user = paths.user] { return drop_privileges(user); };
    qemu_ = std::make_unique<Process>(Process{.name = "qemu",
                                              .child = TRY(spawn(std::move(options)), "start QEMU"),
                                              .messages = std::move(messages),
                                              .watch = {},
                                              .exit = {},
                                              .is_over = false});
    return {};
}

Result<void> Machine::watch(Process& process) {
    process.watch = TRY(loop_.watch(process.child.pidfd(), EPOLLIN,
                                    [this, &process](std::uint32_t) { on_exit(process); }));
    return {};
}

Result<std::unique_ptr<Machine>> Machine::start(EventLoop& loop, MachinePlan plan,
                                                const MachinePaths& paths, OnEnd on_end) {
    std::unique_ptr<Machine> machine(new Machine(loop, std::move(on_end)));
    machine->listen_ = paths.listen;
    auto [control, control_end] = TRY(message_socket_pair());
    machine->control_ = TRY(VmmControl::create(loop, std::move(control)));
    CHECK(plan.vmm.control.has_value());  // each plan has one
    plan.vmm.control->fd = std::move(control_end);
    Fd qmp;
    if (plan.qemu) {
        machine->directory_number_ = plan.qemu->directory.number;
        plan.qemu->directory.fd = TRY(open_file(paths.directory.c_str(), O_PATH | O_DIRECTORY));
        for (std::size_t i = 0; i < plan.vmm.devices.size(); ++i) {
            CHECK(plan.vmm.devices[i].front_end.has_value());  // QEMU drives all devices
            plan.qemu->back_ends[i].fd = TRY(machine->make_sockets(plan.vmm.devices[i]));
        }
        std::tie(qmp, plan.qemu->qmp.fd) = TRY(socket_pair());
    }
    TRY(machine->start_vmm(plan.vmm, paths));
    TRY(machine->watch(*machine->vmm_));
    if (plan.qemu) {
        TRY(machine->start_qemu(*plan.qemu, paths));
        TRY(machine->watch(*machine->qemu_));
        machine->qmp_ = TRY(Qmp::create(
            loop, std::move(qmp),
            [self = machine.get()](const std::string& event, const std::string& device) {
                self->on_event(event, device);
            }));
    }
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
    if (!vmm_->is_over) {
        return;  // the devices end by themselves without QEMU
    }
    if (vmm_->exit == kFrontEndGone) {
        // QEMU ends by itself, and its status says why.
        qemu_end_ = loop_.after(kQemuEndDeadline, [this] { kill(); });
    } else {
        kill();  // without its devices it has no guest worth running
    }
}

MachineEnd Machine::how_it_ended() const {
    const bool vmm_failed = vmm_->exit.by_signal || vmm_->exit.value != 0;
    if (!qemu_) {
        return {.is_power_off = !vmm_failed,
                .reason = vmm_reason(vmm_->exit, vmm_->messages.ref())};
    }
    if (vmm_failed && vmm_->exit != kFrontEndGone) {
        return {.is_power_off = false, .reason = vmm_reason(vmm_->exit, vmm_->messages.ref())};
    }
    return {.is_power_off = qemu_->exit == ChildExit{},
            .reason = qemu_reason(qemu_->exit, qemu_->messages.ref())};
}

Machine::Slot* Machine::take_slot(const std::string& device) {
    for (std::size_t bridge = 0; bridge < kHotplugBridges.size(); ++bridge) {
        for (std::size_t number = 1; number <= kSlotsPerBridge; ++number) {
            const bool is_taken = std::ranges::any_of(slots_, [&](const Slot& slot) {
                return slot.bridge == bridge && slot.number == number;
            });
            if (!is_taken) {
                return &slots_.emplace_back(
                    Slot{.bridge = bridge, .number = number, .device = device});
            }
        }
    }
    return nullptr;
}

void Machine::free_slot(const std::string& device) {
    std::erase_if(slots_, [&device](const Slot& slot) { return slot.device == device; });
}

Result<Fd> Machine::make_sockets(vmm::DeviceConfig& device) {
    vmm::NumberedFd& front_end = device.front_end ? *device.front_end : device.front_end.emplace();
    if (!vmm::qemu_netdev_of(device).empty()) {
        CHECK(listen_);
        front_end.fd = TRY(listen_(net_socket_name(device.id)), vmm::name_of(device));
        return Fd();
    }
    auto [front, back] = TRY(socket_pair());
    front_end.fd = std::move(front);
    return std::move(back);
}

void Machine::attach(vmm::DeviceConfig device, OnAttached done) {
    if (!qmp_) {
        return control_->request(std::move(device), std::move(done));
    }
    Result<Fd> back = make_sockets(device);
    if (!back) {
        return done(std::move(back).error());
    }
    const std::string id = device.id;
    QemuDevice qemu{.driver = vmm::qemu_device_of(device), .netdev = vmm::qemu_netdev_of(device)};
    control_->request(std::move(device),
                      [this, id, qemu = std::move(qemu), back_end = *std::move(back),
                       done = std::move(done)](Result<std::string> served) mutable {
                          if (!served) {
                              return done(std::move(served));
                          }
                          plug(id, qemu, std::move(back_end), std::move(done));
                      });
}

/// The commands in their order; what was done before one that fails is undone, the last first.
void Machine::execute(std::vector<QemuStep> steps, std::size_t next, OnDone done) {
    if (next == steps.size()) {
        return done({});
    }
    const QemuStep step = steps[next];
    qmp_->execute(step.command, step.arguments,
                  [this, steps = std::move(steps), next,
                   done = std::move(done)](Result<void> executed) mutable {
                      if (executed) {
                          return execute(std::move(steps), next + 1, std::move(done));
                      }
                      for (std::size_t i = next; i-- > 0;) {
                          qmp_->execute(steps[i].undo, steps[i].undo_arguments,
                                        [](const Result<void>&) {});
                      }
                      done(std::move(executed));
                  });
}

/// pepita-vmm serves the device: QEMU gets the other end of its socket, and a device that uses it.
/// A failure undoes what was done before, in the reverse order.
void Machine::plug(const std::string& id, const QemuDevice& device, Fd back_end, OnAttached done) {
    const std::string name = qemu_id(id);
    auto give_up = [this, id](OnAttached failed, Error why) {
        free_slot(id);
        control_->request(vmm::DetachRequest{id},
                          [failed = std::move(failed), why = std::move(why)](
                              const Result<std::string>&) mutable { failed(std::move(why)); });
    };
    const Slot* slot = take_slot(id);
    if (slot == nullptr) {
        return give_up(std::move(done),
                       Error(Code::ResourceExhausted, "no PCI slot for a device is free"));
    }
    const std::string just_id = R"({"id":")" + name + R"("})";
    const bool is_passed = static_cast<bool>(back_end);
    const std::string address = is_passed ? R"({"type":"fd","data":{"str":")" + name + R"("}})"
                                          : R"({"type":"unix","data":{"path":")" +
                                                net_socket_path(directory_number_, id) + R"("}})";
    std::vector<QemuStep> steps{
        {.command = "chardev-add",
         .arguments = R"({"id":")" + name +
                      R"(","backend":{"type":"socket","data":{"server":false,"addr":)" + address +
                      "}}}",
         .undo = "chardev-remove",
         .undo_arguments = just_id}};
    if (!device.netdev.empty()) {
        steps.push_back({.command = "netdev_add",
                         .arguments = "{" + members_of("type", device.netdev) + R"(,"id":")" +
                                      name + R"(","chardev":")" + name + R"("})",
                         .undo = "netdev_del",
                         .undo_arguments = just_id});
    }
    steps.push_back({.command = "device_add",
                     .arguments = "{" + members_of("driver", device.driver) + R"(,"id":")" + name +
                                  (device.netdev.empty() ? R"(","chardev":")" : R"(","netdev":")") +
                                  name + R"(","bus":")" + kHotplugBridges.at(slot->bridge) +
                                  R"(","addr":")" + hex(slot->number) + R"("})",
                     .undo = {},
                     .undo_arguments = {}});
    if (is_passed) {
        qmp_->execute(
            "getfd", R"({"fdname":")" + name + R"("})", [](const Result<void>&) {},
            std::move(back_end));
    }
    execute(std::move(steps), 0,
            [give_up = std::move(give_up), done = std::move(done)](Result<void> plugged) mutable {
                if (!plugged) {
                    return give_up(std::move(done), std::move(plugged).error());
                }
                done(std::string());
            });
}

void Machine::detach(std::string id, OnDone done) {
    if (qmp_) {
        return unplug(std::move(id), std::move(done));
    }
    control_->request(vmm::DetachRequest{std::move(id)}, without_text(std::move(done)));
}

void Machine::unplug(std::string id, OnDone done) {
    const auto is_it = [&id](const auto& it) { return it == id; };
    if (std::ranges::none_of(slots_, is_it, &Slot::device)) {
        return done(Error(Code::NotFound, "no device '" + id + "' was attached"));
    }
    if (std::ranges::any_of(removals_, is_it, &Removal::id)) {
        return done(Error(Code::FailedPrecondition, "'" + id + "' is being detached"));
    }
    const std::string name = qemu_id(id);
    removals_.push_back({.id = std::move(id), .done = std::move(done), .deadline = {}});
    qmp_->execute("device_del", R"({"id":")" + name + R"("})", [this, name](Result<void> asked) {
        const auto removal =
            std::ranges::find(removals_, name, [](const Removal& it) { return qemu_id(it.id); });
        if (removal == removals_.end()) {
            return;  // DEVICE_DELETED came before the reply
        }
        if (!asked) {
            return abandon_removal(name, std::move(asked).error());
        }
        removal->deadline = loop_.after(kRemovalDeadline, [this, name] {
            abandon_removal(name, Error(Code::DeadlineExceeded, "the guest does not let go of it"));
        });
    });
}

void Machine::abandon_removal(const std::string& name, Error why) {
    const auto removal =
        std::ranges::find(removals_, name, [](const Removal& it) { return qemu_id(it.id); });
    OnDone done = std::move(removal->done);
    removals_.erase(removal);
    done(std::move(why));
}

/// QEMU's device is gone: its chardev and what pepita-vmm has for it follow. pepita-vmm first,
/// which takes the end of a front end whose device is attached for the end of QEMU.
void Machine::on_event(const std::string& event, const std::string& device) {
    const auto removal =
        std::ranges::find(removals_, device, [](const Removal& it) { return qemu_id(it.id); });
    if (event != "DEVICE_DELETED" || removal == removals_.end()) {
        return;
    }
    const std::string id = removal->id;
    OnDone done = std::move(removal->done);
    removals_.erase(removal);
    control_->request(vmm::DetachRequest{id}, [this, id, done = std::move(done)](
                                                  Result<std::string> detached) mutable {
        if (!detached) {
            return done(std::move(detached).error());
        }
        const std::string just_id = R"({"id":")" + qemu_id(id) + R"("})";
        // Refused for a device that has none.
        qmp_->execute("netdev_del", just_id, [](const Result<void>&) {});
        qmp_->execute("chardev-remove", just_id,
                      [this, id, done = std::move(done)](Result<void> removed) mutable {
                          free_slot(id);
                          done(std::move(removed));
                      });
    });
}

void Machine::resize(std::string id, OnDone done) {
    control_->request(vmm::ResizeRequest{.id = std::move(id), .size = {}},
                      without_text(std::move(done)));
}

void Machine::pause(OnDone done) {
    if (qmp_) {
        return qmp_->execute("stop", "", std::move(done));
    }
    control_->request(vmm::PauseRequest{}, without_text(std::move(done)));
}

void Machine::resume(OnDone done) {
    if (qmp_) {
        return qmp_->execute("cont", "", std::move(done));
    }
    control_->request(vmm::ResumeRequest{}, without_text(std::move(done)));
}

}  // namespace pepita::shim
