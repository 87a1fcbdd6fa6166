#include "shim/machine_plan.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "shim/kernel_command_line.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

// Standard error is 2; the first that is free.
constexpr int kFirstNumber = 3;

std::string in_self(int number) { return "/proc/self/fd/" + std::to_string(number); }

void add(std::vector<std::string>& arguments, std::vector<std::string> more) {
    for (std::string& argument : more) {
        arguments.push_back(std::move(argument));
    }
}

std::vector<std::string> qemu_arguments(const MachineWish& wish) {
    const std::string mebibytes = std::to_string(wish.memory.value() >> 20U);
    std::vector<std::string> arguments;
    add(arguments, {"-nodefaults", "-no-user-config", "-display", "none", "-machine",
                    "q35,accel=tcg,memory-backend=ram,usb=off,smbus=off", "-cpu", "max", "-smp",
                    std::to_string(wish.vcpus), "-m", mebibytes + "M", "-no-reboot", "-action",
                    "panic=exit-failure", "-device", "pvpanic-pci", "-sandbox",
                    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"});
    return arguments;
}

QemuPlan plan_qemu(MachineWish& wish, const std::string& command_line,
                   const std::vector<vmm::DeviceConfig>& devices) {
    QemuPlan plan{.arguments = qemu_arguments(wish),
                  .files = {},
                  .qmp = {},
                  .directory = {},
                  .back_ends = {}};
    int next = kFirstNumber;
    const auto pass = [&plan, &next](Fd& file) {
        plan.files.push_back({.number = next, .fd = std::move(file)});
        return in_self(next++);
    };
    // vhost-user: the devices' processes map the guest's memory. Aligned, or it has no huge pages.
    const std::string size = std::to_string(wish.memory.value() >> 20U);
    add(plan.arguments, {"-object", "memory-backend-file,id=ram,size=" + size +
                                        "M,share=on,align=2M,mem-path=" + pass(wish.memory_file)});
    add(plan.arguments, {"-kernel", pass(wish.kernel)});
    add(plan.arguments, {"-initrd", pass(wish.initrd)});
    add(plan.arguments, {"-append", command_line});
    plan.qmp.number = next++;
    plan.directory.number = next++;
    add(plan.arguments, {"-chardev", "socket,id=qmp,fd=" + std::to_string(plan.qmp.number), "-mon",
                         "chardev=qmp,mode=control"});
    const auto add_device = [&plan](const std::string& id, const std::string& driver,
                                    const std::string& netdev, const std::string& socket) {
        add(plan.arguments, {"-chardev", "socket,id=" + id + "," + socket});
        if (!netdev.empty()) {
            add(plan.arguments, {"-netdev", netdev + ",id=" + id + ",chardev=" + id});
        }
        add(plan.arguments,
            {"-device", driver + ",id=" + id + (netdev.empty() ? ",chardev=" : ",netdev=") + id});
    };
    for (const vmm::DeviceConfig& device : devices) {
        const std::string netdev = vmm::qemu_netdev_of(device);
        std::string socket = "path=" + net_socket_path(plan.directory.number, device.id);
        vmm::NumberedFd& back_end = plan.back_ends.emplace_back();
        if (netdev.empty()) {
            back_end.number = next++;
            socket = "fd=" + std::to_string(back_end.number);
        }
        add_device(qemu_id(device.id), vmm::qemu_device_of(device), netdev, socket);
    }
    if (wish.files) {
        plan.files.push_back({.number = next, .fd = std::move(wish.files)});
        add_device(qemu_id(kFilesId),
                   "vhost-user-fs-pci,queue-size=1024,tag=" + std::string(kFilesTag), "",
                   "fd=" + std::to_string(next++));
    }
    add(plan.arguments, {"-device", "virtio-balloon-pci,disable-legacy=on,free-page-reporting=on"});
    for (const char* bridge : kHotplugBridges) {
        add(plan.arguments, {"-device", std::string("pcie-pci-bridge,id=") + bridge});
    }
    if (wish.console) {
        // Through a set and not by /proc: QEMU's user may not open the file itself.
        plan.files.push_back({.number = next, .fd = std::move(wish.console)});
        add(plan.arguments,
            {"-add-fd", "fd=" + std::to_string(next) + ",set=1", "-chardev",
             "file,id=console,append=on,path=/dev/fdset/1", "-serial", "chardev:console"});
    }
    return plan;
}

}  // namespace

std::vector<vmm::DeviceConfig> boot_devices(BootFiles files) {
    std::vector<vmm::DeviceConfig> devices;
    const auto add_device = [&devices](const char* id, vmm::DeviceKind kind, Fd file) {
        vmm::DeviceConfig& device = devices.emplace_back();
        device.id = id;
        device.kind = std::move(kind);
        if (file) {
            device.fds.push_back({.number = -1, .fd = std::move(file)});
        }
    };
    if (!files.root.empty()) {
        add_device(kRootDiskSerial,
                   vmm::DiskConfig{.access = vmm::Access::ReadOnly, .store = std::nullopt}, Fd());
        for (Fd& part : files.root) {
            devices.back().fds.push_back({.number = -1, .fd = std::move(part)});
        }
    }
    if (files.scratch_size) {
        add_device(kScratchDiskSerial,
                   vmm::DiskConfig{.access = vmm::Access::ReadWrite, .store = files.scratch_size},
                   std::move(files.scratch));
    }
    add_device("vsock", vmm::VsockConfig{.guest_cid = 3, .guest_prefix = kVsockName},
               std::move(files.vsock));
    add_device("entropy", vmm::EntropyConfig{}, Fd());
    return devices;
}

std::string net_socket_name(const std::string& device) { return device + ".sock"; }

std::string net_socket_path(int directory, const std::string& device) {
    return in_self(directory) + "/" + net_socket_name(device);
}

std::string qemu_id(const std::string& device) { return "device-" + device; }

MachinePlan plan_machine(MachineWish wish) {
    std::string command_line = kernel_command_line({.isolation = wish.isolation,
                                                    .has_console = static_cast<bool>(wish.console),
                                                    .vcpus_online = wish.vcpus_online,
                                                    .guest_words = wish.kernel_words});
    MachinePlan plan;
    plan.vmm.devices = std::move(wish.devices);
    plan.vmm.control.emplace();
    if (wish.isolation == Isolation::Tcg) {
        plan.qemu = plan_qemu(wish, command_line, plan.vmm.devices);
        for (vmm::DeviceConfig& device : plan.vmm.devices) {
            device.front_end.emplace();
        }
    } else {
        vmm::KvmConfig& kvm = plan.vmm.kvm.emplace();
        kvm.kvm.fd = std::move(wish.kvm);
        kvm.kernel.fd = std::move(wish.kernel);
        kvm.initrd.emplace().fd = std::move(wish.initrd);
        kvm.command_line = std::move(command_line);
        if (wish.files) {
            vmm::DeviceConfig& files = plan.vmm.devices.emplace_back();
            files.id = kFilesId;
            files.kind = vmm::FsConfig{.tag = kFilesTag};
            files.fds.push_back({.number = -1, .fd = std::move(wish.files)});
        }
        kvm.memory = wish.memory;
        kvm.memory_file.emplace().fd = std::move(wish.memory_file);
        kvm.vcpus = wish.vcpus;
        if (wish.console) {
            kvm.console.emplace().fd = std::move(wish.console);
        }
    }
    vmm::number_fds(plan.vmm, kFirstNumber);
    return plan;
}

}  // namespace pepita::shim
