#include "shim/machine_plan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "test/support/golden.h"
#include "vmm/machine_config.h"

namespace pepita::shim {
namespace {

std::string lines(const std::string& title, const std::vector<std::string>& words) {
    std::string text = title + "\n";
    for (const std::string& word : words) {
        text += "  " + word + "\n";
    }
    return text;
}

std::string text_of(const MachineWish& wish) {
    const MachinePlan plan = plan_machine(wish);
    return lines("pepita-vmm", vmm::to_arguments(plan.vmm)) +
           (plan.qemu_arguments.empty() ? "" : lines("qemu", plan.qemu_arguments));
}

TEST(MachinePlan, KvmIsOneProcess) {
    test::expect_golden("shim/machine_plan_kvm.txt", text_of({.isolation = Isolation::Kvm,
                                                              .memory = 512_MiB,
                                                              .vcpus = 4,
                                                              .kernel_words = {},
                                                              .scratch = 1024_MiB}));
}

TEST(MachinePlan, TcgDrivesTheSameDevicesOverVhostUser) {
    test::expect_golden("shim/machine_plan_tcg.txt", text_of({.isolation = Isolation::Tcg,
                                                              .memory = 256_MiB,
                                                              .vcpus = 1,
                                                              .kernel_words = {},
                                                              .scratch = 64_MiB}));
}

TEST(MachinePlan, AScratchDiskIsThereOnlyWhenAskedFor) {
    for (const Isolation isolation : {Isolation::Kvm, Isolation::Tcg}) {
        EXPECT_EQ(
            text_of({.isolation = isolation, .kernel_words = {}, .scratch = {}}).find("scratch"),
            std::string::npos);
    }
}

TEST(MachinePlan, AConsoleIsThereOnlyWhenAskedFor) {
    const std::string without =
        text_of({.isolation = Isolation::Kvm, .kernel_words = {}, .scratch = {}});
    EXPECT_EQ(without.find("console"), std::string::npos);
    const std::string with = text_of(
        {.isolation = Isolation::Kvm, .has_console = true, .kernel_words = {}, .scratch = {}});
    EXPECT_NE(with.find("console=ttyS0"), std::string::npos);
}

TEST(MachinePlan, R35_QemuAppendsToTheConsolesFileThatItNeedNotOpen) {
    const std::string tcg = text_of(
        {.isolation = Isolation::Tcg, .has_console = true, .kernel_words = {}, .scratch = {}});
    EXPECT_NE(tcg.find("file,id=console,append=on,path=/dev/fdset/1"), std::string::npos) << tcg;
}

}  // namespace
}  // namespace pepita::shim
