#include "shim/machine_plan.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "shim/kernel_command_line.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

using vmm::InheritedFd;

std::string command_line(const MachineWish& wish) {
    return kernel_command_line({.isolation = wish.isolation,
                                .has_console = wish.has_console,
                                .guest_words = wish.kernel_words});
}

std::string in_self(int number) { return "/proc/self/fd/" + std::to_string(number); }

void add(std::vector<std::string>& arguments, std::vector<std::string> more) {
    for (std::string& argument : more) {
        arguments.push_back(std::move(argument));
    }
}

void add_vhost_user(std::vector<std::string>& arguments, const std::string& name, int number,
                    const std::string& device) {
    add(arguments, {"-chardev", "socket,id=" + name + ",fd=" + std::to_string(number), "-device",
                    device + ",chardev=" + name});
}

std::vector<std::string> qemu_arguments(const MachineWish& wish) {
    const std::string mebibytes = std::to_string(wish.memory.value() >> 20U);
    std::vector<std::string> arguments;
    add(arguments,
        {"-nodefaults", "-no-user-config", "-display", "none", "-machine",
         "q35,accel=tcg,memory-backend=ram,usb=off,smbus=off", "-cpu", "max", "-smp",
         std::to_string(wish.vcpus), "-m", mebibytes + "M",
         // vhost-user: the devices' process maps the guest's memory.
         "-object", "memory-backend-memfd,id=ram,size=" + mebibytes + "M,share=on", "-no-reboot",
         "-action", "panic=exit-failure", "-device", "pvpanic-pci", "-sandbox",
         "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", "-kernel",
         in_self(QemuFds::kKernel), "-initrd", in_self(QemuFds::kInitrd), "-append",
         command_line(wish)});
    add_vhost_user(arguments, "disk", QemuFds::kDiskBackEnd, "vhost-user-blk-pci,num-queues=1");
    if (wish.scratch) {
        add_vhost_user(arguments, "scratch", QemuFds::kScratchBackEnd,
                       "vhost-user-blk-pci,num-queues=1");
    }
    add_vhost_user(arguments, "vsock", QemuFds::kVsockBackEnd, "vhost-user-vsock-pci");
    add_vhost_user(arguments, "entropy", QemuFds::kEntropyBackEnd, "vhost-user-rng-pci");
    if (wish.has_console) {
        // Through a set and not by /proc: QEMU's user may not open the file itself.
        add(arguments,
            {"-add-fd", "fd=" + std::to_string(QemuFds::kConsole) + ",set=1", "-chardev",
             "file,id=console,append=on,path=/dev/fdset/1", "-serial", "chardev:console"});
    }
    return arguments;
}

}  // namespace

MachinePlan plan_machine(const MachineWish& wish) {
    vmm::DiskConfig disk{.file = InheritedFd{VmmFds::kRootDisk},
                         .access = vmm::Access::ReadOnly,
                         .serial = kRootDiskSerial,
                         .vhost_user = {},
                         .store = {}};
    vmm::DiskConfig scratch{.file = InheritedFd{VmmFds::kScratchBase},
                            .access = vmm::Access::ReadWrite,
                            .serial = kScratchDiskSerial,
                            .vhost_user = {},
                            .store = vmm::StoreConfig{.size = wish.scratch.value_or(Bytes(0))}};
    vmm::VsockConfig vsock{.guest_cid = 3,
                           .listener = InheritedFd{VmmFds::kVsockListener},
                           .guest_prefix = kVsockName,
                           .vhost_user = {}};
    vmm::EntropyConfig entropy;
    MachinePlan plan;
    if (wish.isolation == Isolation::Tcg) {
        disk.vhost_user = InheritedFd{VmmFds::kDiskFrontEnd};
        scratch.vhost_user = InheritedFd{VmmFds::kScratchFrontEnd};
        vsock.vhost_user = InheritedFd{VmmFds::kVsockFrontEnd};
        entropy.vhost_user = InheritedFd{VmmFds::kEntropyFrontEnd};
        plan.qemu_arguments = qemu_arguments(wish);
    } else {
        plan.vmm.kvm = vmm::KvmConfig{.kvm = InheritedFd{VmmFds::kKvm},
                                      .kernel = InheritedFd{VmmFds::kKernel},
                                      .initrd = InheritedFd{VmmFds::kInitrd},
                                      .command_line = command_line(wish),
                                      .memory = wish.memory,
                                      .vcpus = wish.vcpus,
                                      .console = {}};
        if (wish.has_console) {
            plan.vmm.kvm->console = InheritedFd{VmmFds::kConsole};
        }
    }
    plan.vmm.disks.push_back(std::move(disk));
    if (wish.scratch) {
        plan.vmm.disks.push_back(std::move(scratch));
    }
    plan.vmm.vsock = std::move(vsock);
    plan.vmm.entropy = entropy;
    return plan;
}

}  // namespace pepita::shim
