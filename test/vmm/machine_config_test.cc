#include "vmm/machine_config.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {
namespace {

MachineConfig full() {
    return {.kvm = KvmConfig{.kvm = InheritedFd{3},
                             .kernel = InheritedFd{4},
                             .initrd = InheritedFd{5},
                             .command_line = "console=ttyS0 quiet",
                             .memory = 768_MiB,
                             .vcpus = 4,
                             .console = InheritedFd{2}},
            .disks = {{.file = InheritedFd{6},
                       .access = Access::ReadOnly,
                       .serial = "rootfs",
                       .vhost_user = {},
                       .store = {}},
                      {.file = InheritedFd{7},
                       .access = Access::ReadWrite,
                       .serial = "a.B_c-9",
                       .vhost_user = {},
                       .store = {}},
                      {.file = InheritedFd{9},
                       .access = Access::ReadWrite,
                       .serial = "scratch",
                       .vhost_user = {},
                       .store = StoreConfig{.size = 1024_MiB}}},
            .vsock = VsockConfig{.guest_cid = 3,
                                 .listener = InheritedFd{8},
                                 .guest_prefix = "vsock.sock",
                                 .vhost_user = {}},
            .entropy = EntropyConfig{.vhost_user = {}}};
}

std::string joined(const std::vector<std::string>& arguments) {
    std::string all;
    for (const std::string& argument : arguments) {
        all += (all.empty() ? "" : " ") + argument;
    }
    return all;
}

/// By words; nothing here needs quoting.
Result<MachineConfig> parse(const std::string& line) {
    std::istringstream words(line);
    std::vector<std::string> arguments;
    for (std::string word; words >> word;) {
        arguments.push_back(word);
    }
    return parse_arguments(arguments);
}

std::string refusal(const std::string& line) {
    const auto config = parse(line);
    return config ? "accepted" : config.error().message();
}

constexpr const char* kMachine = "--kvm 3 --kernel 4 ";

TEST(MachineConfig, WritesItsCommandLine) {
    EXPECT_EQ(joined(to_arguments(full())),
              "--kvm 3 --kernel 4 --initrd 5 --memory-mib 768 --vcpus 4 "
              "--command-line console=ttyS0 quiet --console 2 "
              "--disk file=6,serial=rootfs,read-only --disk file=7,serial=a.B_c-9 "
              "--disk store=1024,base=9,serial=scratch "
              "--vsock cid=3,listener=8,prefix=vsock.sock --entropy pci");
}

TEST(MachineConfig, ReadsWhatItWrites) {
    EXPECT_EQ(parse_arguments(to_arguments(full())).value(), full());
}

TEST(MachineConfig, ServedDevicesComeBackToo) {
    MachineConfig config = full();
    config.kvm.reset();
    config.disks[0].vhost_user = InheritedFd{9};
    config.disks[1].vhost_user = InheritedFd{10};
    config.disks[2].vhost_user = InheritedFd{13};
    config.vsock->vhost_user = InheritedFd{11};
    config.entropy->vhost_user = InheritedFd{12};
    EXPECT_EQ(parse_arguments(to_arguments(config)).value(), config);
}

TEST(MachineConfig, DefaultsAreTheStructs) {
    const MachineConfig config = parse(kMachine).value();
    EXPECT_EQ(config.kvm->memory, 512_MiB);
    EXPECT_EQ(config.kvm->vcpus, 1U);
    EXPECT_EQ(config.kvm->command_line, "");
}

TEST(MachineConfig, EmptyCommandLineIsOne) {
    EXPECT_TRUE(parse_arguments(
                    std::vector<std::string>{"--kvm", "3", "--kernel", "4", "--command-line", ""})
                    .has_value());
}

TEST(MachineConfig, LimitsAreHeld) {
    const std::string machine = kMachine;
    EXPECT_TRUE(parse(machine + "--memory-mib 16").has_value());
    EXPECT_EQ(refusal(machine + "--memory-mib 15"),
              "--memory-mib: '15' is not a number from 16 to 65536");
    EXPECT_TRUE(parse(machine + "--memory-mib 65536").has_value());
    EXPECT_NE(refusal(machine + "--memory-mib 65537"), "accepted");
    EXPECT_TRUE(parse(machine + "--vcpus 8").has_value());
    EXPECT_EQ(refusal(machine + "--vcpus 9"), "--vcpus: '9' is not a number from 1 to 8");
    EXPECT_NE(refusal(machine + "--vcpus 0"), "accepted");
    EXPECT_TRUE(parse(machine + "--command-line " + std::string(2047, 'x')).has_value());
    EXPECT_EQ(refusal(machine + "--command-line " + std::string(2048, 'x')),
              "--command-line: 2048 B; Linux takes 2047");
}

TEST(MachineConfig, NumbersAreNothingButDigits) {
    const std::string machine = kMachine;
    EXPECT_NE(refusal(machine + "--vcpus 1x"), "accepted");
    EXPECT_NE(refusal(machine + "--vcpus -1"), "accepted");
    EXPECT_NE(refusal(machine + "--vcpus +1"), "accepted");
    EXPECT_NE(refusal(machine + "--vcpus 99999999999999999999"), "accepted");
    EXPECT_EQ(refusal("--kvm -1 --kernel 4"), "--kvm: '-1' is not a number from 0 to 1048575");
}

TEST(MachineConfig, OptionsAreKnownAndComeOnceWithTheirValue) {
    const std::string machine = kMachine;
    EXPECT_EQ(refusal(machine + "--frob 1"), "--frob: unknown option");
    EXPECT_EQ(refusal(machine + "--vcpus"), "--vcpus: unknown option, or one without its value");
    EXPECT_EQ(refusal(machine + "--kvm 5"), "--kvm: is given twice");
    EXPECT_EQ(refusal(machine + "--entropy pci --entropy pci"), "--entropy: is given twice");
}

TEST(MachineConfig, MachineNeedsItsKvmAndItsKernel) {
    EXPECT_EQ(refusal("--kvm 3"), "--kernel: is missing");
    EXPECT_EQ(refusal("--kernel 4"),
              "--kvm: is missing, and the machine's other options are there");
    EXPECT_EQ(refusal(""), "neither a machine nor a device is asked for");
}

TEST(MachineConfig, DiskIsCheckedKeyByKey) {
    const std::string disk = std::string(kMachine) + "--disk ";
    EXPECT_EQ(refusal(disk + "serial=a"), "--disk: 'file' is missing");
    EXPECT_EQ(refusal(disk + "file=6"), "--disk: 'serial' is missing");
    EXPECT_EQ(refusal(disk + "file=6,serial=a,format=qcow2"), "--disk: unknown key 'format'");
    EXPECT_EQ(refusal(disk + "file=6,file=7,serial=a"), "--disk: 'file' is given twice");
    EXPECT_EQ(refusal(disk + "file=6,serial=a,read-only=yes"),
              "--disk: 'read-only' takes no value");
    EXPECT_EQ(refusal(disk + "file=6,serial=a,"), "--disk: unknown key ''");
    EXPECT_TRUE(parse(disk + "file=6,serial=" + std::string(20, 'a')).has_value());
    EXPECT_NE(refusal(disk + "file=6,serial=" + std::string(21, 'a')), "accepted");
    EXPECT_EQ(refusal(disk + "file=6,serial=a/b"),
              "--disk: serial 'a/b' is not 1 to 20 letters of [A-Za-z0-9._-]");
}

TEST(MachineConfig, StoreIsCheckedKeyByKey) {
    const std::string disk = std::string(kMachine) + "--disk ";
    EXPECT_EQ(parse(disk + "store=1,base=6,serial=a").value().disks.at(0).store->size, 1_MiB);
    EXPECT_TRUE(parse(disk + "store=65536,base=6,serial=a").has_value());
    for (const char* size : {"", "0", "65537", "64M", "99999999999999999999"}) {
        EXPECT_EQ(refusal(disk + "store=" + size + ",base=6,serial=a"),
                  "--disk: '" + std::string(size) + "' is not a number from 1 to 65536");
    }
    EXPECT_EQ(refusal(disk + "store=64,serial=a"), "--disk: 'base' is missing");
    EXPECT_EQ(refusal(disk + "store=64,base=6"), "--disk: 'serial' is missing");
    EXPECT_EQ(refusal(disk + "store=64,file=6,serial=a"), "--disk: unknown key 'file'");
    EXPECT_EQ(refusal(disk + "store=64,base=6,serial=a,read-only"),
              "--disk: unknown key 'read-only'");
    EXPECT_EQ(refusal(disk + "file=6,base=6,serial=a"), "--disk: unknown key 'base'");
}

TEST(MachineConfig, DiskCountLimitIsHeld) {
    std::string line = kMachine;
    for (int i = 0; i < 16; ++i) {
        line += "--disk file=6,serial=a ";
    }
    EXPECT_TRUE(parse(line).has_value());
    EXPECT_EQ(refusal(line + "--disk file=6,serial=a"), "--disk: more than 16 disks");
}

TEST(MachineConfig, VsockIsCheckedKeyByKey) {
    const std::string vsock = std::string(kMachine) + "--vsock ";
    EXPECT_EQ(refusal(vsock + "cid=2,listener=5,prefix=p"),
              "--vsock: '2' is not a number from 3 to 4294967294");
    EXPECT_NE(refusal(vsock + "cid=4294967295,listener=5,prefix=p"), "accepted");
    EXPECT_TRUE(parse(vsock + "cid=4294967294,listener=5,prefix=p").has_value());
    EXPECT_EQ(refusal(vsock + "cid=3,listener=5"), "--vsock: 'prefix' is missing");
    EXPECT_TRUE(parse(vsock + "cid=3,listener=5,prefix=" + std::string(90, 'p')).has_value());
    EXPECT_EQ(refusal(vsock + "cid=3,listener=5,prefix=" + std::string(91, 'p')),
              "--vsock: prefix of 91 B; 1 to 90 are possible");
}

TEST(MachineConfig, EntropySaysWhere) {
    const std::string entropy = std::string(kMachine) + "--entropy ";
    EXPECT_TRUE(parse(entropy + "pci").has_value());
    EXPECT_EQ(refusal(entropy + "mmio"), "--entropy: unknown key 'mmio'");
    EXPECT_EQ(refusal(entropy + "pci=1"), "--entropy: unknown key 'pci'");
    EXPECT_EQ(refusal("--entropy vhost-user="), "--entropy: '' is not a number from 0 to 1048575");
}

TEST(MachineConfig, FrontEndsBelongToDevicesWithoutAMachine) {
    EXPECT_EQ(refusal(std::string(kMachine) + "--disk file=6,serial=a,vhost-user=9"),
              "--disk: 'vhost-user' is for devices without --kvm");
    EXPECT_EQ(refusal("--disk file=6,serial=a"),
              "--disk: 'vhost-user' is missing, and there is no --kvm");
    EXPECT_EQ(refusal("--entropy pci"),
              "--entropy: 'vhost-user' is missing, and there is no --kvm");
}

}  // namespace
}  // namespace pepita::vmm
