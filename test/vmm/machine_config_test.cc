#include "vmm/machine_config.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "vmm/device_config.h"

namespace pepita::vmm {
namespace {

constexpr const char* kMachine = "--machine kvm=3,kernel=4";
constexpr const char* kFull =
    "--machine "
    "kvm=3,kernel=4,initrd=5,memory-mib=768,memory=11,vcpus=4,console=2,command-line=quiet "
    "--device disk,id=root,fd=6,read-only --device disk,id=a.B_c-9,fd=7 "
    "--device vsock,id=vsock,fd=8,cid=3,prefix=vsock.sock "
    "--device disk,id=scratch,fd=9,store=1024 --device entropy,id=rng "
    "--device net,id=eth0,fd=12+13,mac=02:00:5e:10:0a:ff,mtu=1400,rx-rate=1000000,tx-rate=1 "
    "--device fs,id=files,fd=14,tag=pod --control 10";

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

std::string error_of(const std::string& line) {
    const auto config = parse(line);
    return config ? "none" : config.error().message();
}

Fd some_file() { return *open_file("/dev/null", O_RDONLY); }

TEST(MachineConfig, WritesWhatItRead) {
    const auto config = parse(kFull);
    ASSERT_TRUE(config.has_value()) << config.error().message();
    EXPECT_EQ(joined(to_arguments(*config)), kFull);
}

TEST(MachineConfig, DevicesKeepTheirOrder) {
    const MachineConfig config = parse(kFull).value();
    ASSERT_EQ(config.devices.size(), 7U);
    EXPECT_EQ(name_of(config.devices[2]), "vsock 'vsock'");
    EXPECT_EQ(name_of(config.devices[3]), "disk 'scratch'");
}

TEST(MachineConfig, ServedDevicesComeBackToo) {
    constexpr const char* served =
        "--device disk,id=root,fd=6,vhost-user=9,read-only "
        "--device vsock,id=vsock,fd=8,vhost-user=10,cid=3,prefix=v "
        "--device entropy,id=rng,vhost-user=11 "
        "--device net,id=eth0,fd=12,vhost-user=13,mac=02:00:00:00:00:01";
    EXPECT_EQ(joined(to_arguments(parse(served).value())), served);
}

TEST(MachineConfig, DefaultsAreTheStructs) {
    const MachineConfig config = parse(kMachine).value();
    EXPECT_EQ(config.kvm->memory, KvmConfig{}.memory);
    EXPECT_EQ(config.kvm->vcpus, 1U);
    EXPECT_FALSE(config.kvm->console.has_value());
}

TEST(MachineConfig, ACommandLineMayHaveCommas) {
    const std::vector<std::string> arguments{
        "--machine", "kvm=3,kernel=4,memory-mib=512,vcpus=1,command-line=console=ttyS0,,115200 x"};
    const MachineConfig config = parse_arguments(arguments).value();
    EXPECT_EQ(config.kvm->command_line, "console=ttyS0,115200 x");
    EXPECT_EQ(to_arguments(config), arguments);
}

TEST(MachineConfig, LimitsAreHeld) {
    const auto with = [](const std::string& field) {
        return error_of(std::string(kMachine) + "," + field);
    };
    EXPECT_EQ(with("memory-mib=16"), "none");
    EXPECT_EQ(with("memory-mib=15"),
              "option '--machine': 'memory-mib': must be a whole number from 16 to 65536");
    EXPECT_EQ(with("memory-mib=65536"), "none");
    EXPECT_NE(with("memory-mib=65537"), "none");
    EXPECT_EQ(with("vcpus=8"), "none");
    EXPECT_NE(with("vcpus=9"), "none");
    EXPECT_NE(with("vcpus=0"), "none");
    EXPECT_EQ(with("command-line=" + std::string(2047, 'x')), "none");
    EXPECT_NE(with("command-line=" + std::string(2048, 'x')), "none");
    EXPECT_EQ(with("console=1048575"), "none");
    EXPECT_NE(with("console=1048576"), "none");
}

TEST(MachineConfig, MachineNeedsItsKvmAndItsKernel) {
    EXPECT_EQ(error_of("--machine kvm=3"), "option '--machine': 'kernel' is missing");
    EXPECT_EQ(error_of("--machine kernel=3"), "option '--machine': 'kvm' is missing");
    EXPECT_EQ(error_of("--control 3"), "neither a machine nor a device is asked for");
    EXPECT_EQ(error_of("--frob 3"), "unknown option '--frob'");
    EXPECT_EQ(error_of(std::string(kMachine) + " " + kMachine),
              "option '--machine': is given twice");
}

TEST(MachineConfig, DeviceIsCheckedKeyByKey) {
    const auto device = [](const std::string& text) {
        return error_of(std::string(kMachine) + " --device " + text);
    };
    EXPECT_EQ(device("disk,id=a,fd=3"), "none");
    EXPECT_EQ(device("tape,id=a,fd=3"), "option '--device': unknown kind 'tape'");
    EXPECT_EQ(device("disk,fd=3"), "option '--device': disk: 'id' is missing");
    EXPECT_EQ(device("disk,id=a"), "option '--device': disk: 'fd' has 0 descriptors, not 1 to 250");
    EXPECT_EQ(device("disk,id=a,fd=3+4,read-only"), "none");
    EXPECT_EQ(device("disk,id=a,fd=3+4"),
              "option '--device': disk: a disk of several files must be 'read-only'");
    EXPECT_EQ(device("disk,id=a,fd=3+4,store=16"),
              "option '--device': disk: a disk of several files must be 'read-only'");
    std::string fds = "fd=1";
    for (std::size_t i = 2; i <= DiskConfig::kPartsMax; ++i) {
        fds += "+" + std::to_string(i);
    }
    EXPECT_EQ(device("disk,id=a,read-only," + fds), "none");
    EXPECT_EQ(device("disk,id=a,read-only," + fds + "+300"),
              "option '--device': disk: 'fd': has more than 250 descriptors");
    EXPECT_EQ(device("net,id=a,mac=02:00:00:00:00:01,fd=1+2+3+4+5+6+7+8"), "none");
    EXPECT_EQ(device("net,id=a,mac=02:00:00:00:00:01,fd=1+2+3+4+5+6+7+8+9"),
              "option '--device': net: 'fd' has 9 descriptors, not 1 to 8");
    EXPECT_EQ(device("entropy,id=a,fd=3"),
              "option '--device': entropy: 'fd' has 1 descriptors, not 0");
    EXPECT_EQ(device("disk,id=a,fd=x"),
              "option '--device': disk: 'fd': must be a whole number from 0 to 1048575");
    EXPECT_EQ(device("disk,id=a,fd=3,cid=3"), "option '--device': disk: unknown key 'cid'");
    EXPECT_EQ(device("disk,id=" + std::string(20, 'x') + ",fd=3"), "none");
    EXPECT_EQ(device("disk,id=" + std::string(21, 'x') + ",fd=3"),
              "option '--device': disk: 'id': must be 1 to 20 of [A-Za-z0-9._-]");
    EXPECT_NE(device("disk,id=a/b,fd=3"), "none");
    EXPECT_EQ(device("disk,id=a,fd=3,store=65536"), "none");
    EXPECT_NE(device("disk,id=a,fd=3,store=65537"), "none");
    EXPECT_NE(device("disk,id=a,fd=3,store=0"), "none");
    EXPECT_EQ(device("disk,id=a,fd=3,store=1,read-only"),
              "option '--device': disk: 'store' is for a disk that is written");
    EXPECT_EQ(device("vsock,id=a,fd=3,prefix=p"), "option '--device': vsock: 'cid' is missing");
    EXPECT_NE(device("vsock,id=a,fd=3,cid=2,prefix=p"), "none");
    EXPECT_EQ(device("vsock,id=a,fd=3,cid=3,prefix=" + std::string(90, 'p')), "none");
    EXPECT_NE(device("vsock,id=a,fd=3,cid=3,prefix=" + std::string(91, 'p')), "none");
}

TEST(MachineConfig, DevicesHaveIdsOfTheirOwnAndAreNotTooMany) {
    EXPECT_EQ(error_of(std::string(kMachine) + " --device disk,id=a,fd=3 --device entropy,id=a"),
              "disk 'a': the id is used twice");
    std::string line = kMachine;
    for (std::size_t i = 0; i < MachineConfig::kDevicesMax; ++i) {
        line += " --device entropy,id=e" + std::to_string(i);
    }
    EXPECT_EQ(error_of(line), "none");
    EXPECT_EQ(error_of(line + " --device entropy,id=more"),
              "option '--device': is given more than 62 times");
}

TEST(MachineConfig, FrontEndsBelongToDevicesWithoutAMachine) {
    EXPECT_EQ(error_of(std::string(kMachine) + " --device entropy,id=a,vhost-user=5"),
              "entropy 'a': 'vhost-user' is for devices without --machine");
    EXPECT_EQ(error_of("--device entropy,id=a"),
              "entropy 'a': 'vhost-user' is missing, and there is no --machine");
}

TEST(MachineConfig, DescriptorsAreNumberedInTheirOrder) {
    MachineConfig config = parse(kFull).value();
    EXPECT_EQ(number_fds(config, 20), 33);
    EXPECT_EQ(config.kvm->kvm.number, 20);
    EXPECT_EQ(config.devices[0].fds[0].number, 25);
    EXPECT_EQ(config.control->number, 32);
}

TEST(MachineConfig, DescriptorsAreClaimedOnce) {
    DeviceConfig device = parse_device("disk,id=a,fd=1,vhost-user=2").value();
    const auto claimed = claim_fds(device, [](int /*number*/) { return some_file(); });
    ASSERT_TRUE(claimed.has_value());
    EXPECT_TRUE(static_cast<bool>(device.fds[0].fd));
    EXPECT_TRUE(static_cast<bool>(device.front_end->fd));

    DeviceConfig twice = parse_device("disk,id=a,fd=1,vhost-user=1").value();
    EXPECT_EQ(claim_fds(twice, [](int /*number*/) { return some_file(); }).error().message(),
              "descriptor 1 is used twice");
    DeviceConfig absent = parse_device("disk,id=a,fd=1").value();
    EXPECT_EQ(claim_fds(absent, [](int /*number*/) { return Fd(); }).error().message(),
              "descriptor 1 is not there");
}

TEST(ControlLine, WritesWhatItRead) {
    for (const std::string_view line :
         {"--device disk,id=data,fd=0,read-only", "--device disk,id=image,fd=0+1+2,read-only",
          "--detach data", "--resize id=data", "--resize id=data,size-mib=64", "--pause",
          "--resume"}) {
        const auto request = parse_line(line);
        ASSERT_TRUE(request.has_value()) << line << ": " << request.error().message();
        EXPECT_EQ(to_line(*request), line);
    }
}

TEST(ControlLine, HasOneRequest) {
    EXPECT_EQ(parse_line("").error().message(), "unexpected argument ''");
    EXPECT_EQ(parse_line("data").error().message(), "unexpected argument 'data'");
    EXPECT_EQ(parse_line("--pause --resume").error().message(), "one request a line");
    EXPECT_EQ(parse_line("--detach").error().message(), "option '--detach' needs a value");
    EXPECT_EQ(parse_line("--machine kvm=3,kernel=4").error().message(),
              "unknown option '--machine'");
}

}  // namespace
}  // namespace pepita::vmm
