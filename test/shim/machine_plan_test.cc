#include "shim/machine_plan.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "test/support/golden.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

Fd some_file() { return *open_file("/dev/null", O_RDONLY); }

MachineWish wish(Isolation isolation, std::optional<Bytes> scratch) {
    MachineWish made;
    made.isolation = isolation;
    made.kernel_words = "their.word=1";
    made.memory_file = some_file();
    made.kernel = some_file();
    made.initrd = some_file();
    if (isolation == Isolation::Kvm) {
        made.kvm = some_file();
    }
    std::vector<Fd> root;
    root.push_back(some_file());
    made.devices = boot_devices({.root = std::move(root),
                                 .scratch = scratch ? some_file() : Fd(),
                                 .scratch_size = scratch,
                                 .vsock = some_file()});
    made.files = some_file();
    return made;
}

std::string lines(const std::string& title, const std::vector<std::string>& words) {
    std::string text = title + "\n";
    for (const std::string& word : words) {
        text += "  " + word + "\n";
    }
    return text;
}

std::string text_of(MachineWish wish) {
    const MachinePlan plan = plan_machine(std::move(wish));
    return lines("pepita-vmm", vmm::to_arguments(plan.vmm)) +
           (plan.qemu ? lines("qemu", plan.qemu->arguments) : "");
}

TEST(MachinePlan, KvmIsOneProcess) {
    MachineWish kvm = wish(Isolation::Kvm, 1024_MiB);
    kvm.vcpus = 4;
    test::expect_golden("shim/machine_plan_kvm.txt", text_of(std::move(kvm)));
}

TEST(MachinePlan, TcgDrivesTheSameDevicesOverVhostUser) {
    MachineWish tcg = wish(Isolation::Tcg, 64_MiB);
    tcg.memory = 256_MiB;
    test::expect_golden("shim/machine_plan_tcg.txt", text_of(std::move(tcg)));
}

TEST(MachinePlan, TheRootMayBeADiskOfSeveralFiles) {
    std::vector<Fd> root;
    for (int i = 0; i < 3; ++i) {
        root.push_back(some_file());
    }
    MachineWish with = wish(Isolation::Kvm, std::nullopt);
    with.devices = boot_devices(
        {.root = std::move(root), .scratch = {}, .scratch_size = {}, .vsock = some_file()});
    const std::string text = text_of(std::move(with));
    EXPECT_NE(text.find("disk,id=root,fd=7+8+9,read-only"), std::string::npos) << text;
}

TEST(MachinePlan, AScratchDiskIsThereOnlyWhenAskedFor) {
    for (const Isolation isolation : {Isolation::Kvm, Isolation::Tcg}) {
        EXPECT_EQ(text_of(wish(isolation, std::nullopt)).find("scratch"), std::string::npos);
    }
}

TEST(MachinePlan, AConsoleIsThereOnlyWhenAskedFor) {
    EXPECT_EQ(text_of(wish(Isolation::Kvm, std::nullopt)).find("console"), std::string::npos);
    MachineWish with = wish(Isolation::Kvm, std::nullopt);
    with.console = some_file();
    const std::string text = text_of(std::move(with));
    EXPECT_NE(text.find("console=ttyS0"), std::string::npos);
    EXPECT_NE(text.find(",console="), std::string::npos);
}

// The plan's own files come with their numbers; sockets are made when the processes start.
TEST(MachinePlan, EachFileHasANumberOfItsOwnInItsProcess) {
    const MachinePlan plan = plan_machine(wish(Isolation::Tcg, 64_MiB));
    ASSERT_TRUE(plan.qemu.has_value());
    EXPECT_EQ(plan.qemu->files.size(), 4U);
    EXPECT_EQ(plan.qemu->back_ends.size(), plan.vmm.devices.size());
    EXPECT_TRUE(static_cast<bool>(plan.vmm.devices[0].fds[0].fd));
    EXPECT_FALSE(static_cast<bool>(plan.vmm.devices[0].front_end->fd));
}

// QEMU 7.2 takes no socket of a netdev by its number.
TEST(MachinePlan, ANetDeviceHasANetdevWhoseSocketHasAPath) {
    MachineWish with = wish(Isolation::Tcg, std::nullopt);
    vmm::DeviceConfig& net = with.devices.emplace_back();
    net.id = "net2";
    net.kind = vmm::NetConfig{.mac = {2, 0, 0, 0, 0, 1}, .mtu = 1400, .rx_rate = {}, .tx_rate = {}};
    net.fds.resize(2);
    const std::string tcg = text_of(std::move(with));
    EXPECT_NE(tcg.find("socket,id=device-net2,path=/proc/self/fd/7/net2.sock"), std::string::npos)
        << tcg;
    EXPECT_NE(tcg.find("vhost-user,queues=2,id=device-net2,chardev=device-net2"),
              std::string::npos);
    EXPECT_NE(tcg.find("mac=02:00:00:00:00:01,host_mtu=1400,mq=true,id=device-net2,"
                       "netdev=device-net2"),
              std::string::npos);
}

TEST(MachinePlan, R35_QemuAppendsToTheConsolesFileThatItNeedNotOpen) {
    MachineWish with = wish(Isolation::Tcg, std::nullopt);
    with.console = some_file();
    const std::string tcg = text_of(std::move(with));
    EXPECT_NE(tcg.find("file,id=console,append=on,path=/dev/fdset/1"), std::string::npos) << tcg;
}

}  // namespace
}  // namespace pepita::shim
