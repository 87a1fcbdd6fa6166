#include "shim/pod.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_spec.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "shim/machine_plan.h"
#include "shim/microvm.h"
#include "shim/pod_size.h"
#include "test/support/fake_microvm.h"
#include "test/support/pod_fixture.h"

namespace pepita::shim {
namespace {

using runtime::ContainerStatus;
using runtime::TaskStatus;
using std::chrono::seconds;
using test::PodTest;

TEST_F(PodTest, OneContainerFromCreateToDelete) {
    const auto created = create("a");
    EXPECT_EQ(machine_.first_root.value().path, scratch_ + "/bundle/rootfs");
    EXPECT_EQ(machine_.first_root.value().scratch, 1024_MiB);
    EXPECT_FALSE(created->has_value());
    come_up();
    EXPECT_EQ(created->value().value(), 4711U);
    EXPECT_EQ(machine_.guest.specs.at("a").root.disk->serial, "root");
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Created);
    EXPECT_TRUE(start("a")->value().has_value());
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Running);
    const auto exit = wait("a");
    EXPECT_FALSE(exit->has_value());
    machine_.guest.exit({.container = "a", .exec = ""}, 3);
    settle();
    EXPECT_EQ(exit->value().value().exit_status, 3U);
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Stopped);
    EXPECT_FALSE(pod_->is_over());
    EXPECT_EQ(remove("a")->value().value().exit_status, 3U);
    EXPECT_EQ(machine_.shutdowns, 1);
    EXPECT_TRUE(nothing_is_left());
    EXPECT_GT(over_, 0);
}

TEST_F(PodTest, ARootMayBeAnImage) {
    spec_.packs_roots = false;
    const runtime::ImageRoot image{.store = "/images", .id = "sha256:1"};
    const auto created = create("a", {}, "/bundle", image);
    EXPECT_EQ(machine_.first_root.value().image, image);
    EXPECT_FALSE(machine_.first_root.value().is_packed);
    EXPECT_TRUE(machine_.first_root.value().shared.empty());
    EXPECT_EQ(machine_.first_root.value().scratch, 1024_MiB);
    come_up();
    EXPECT_TRUE(created->value().has_value());
    EXPECT_EQ(machine_.guest.specs.at("a").root.disk->serial, "root");
    ASSERT_TRUE(create("b", {}, "/bundle", image)->value().has_value());
    EXPECT_EQ(machine_.added_roots.at(0).image, image);
    machine_.add_root_error = "there is no image sha256:1";
    EXPECT_EQ(create("c", {}, "/bundle", image)->value().error().message(),
              "there is no image sha256:1");
    EXPECT_FALSE(exists("c"));
}

TEST_F(PodTest, ImagesAsMountsAreDisksOfAContainerThatIsAnImage) {
    const std::string id = "sha256:" + std::string(64, 'a');
    std::string config(test::kPodTestConfig);
    config.insert(1, R"("mounts": [{"destination": "/one", "type": "image", "source": ")" + id +
                         R"(/sub"}, {"destination": "/two", "type": "image", "source": ")" + id +
                         R"("}],)");
    std::filesystem::create_directories(scratch_ + "/mounts/rootfs");
    std::ofstream(scratch_ + "/mounts/config.json") << config;
    run("a");
    const std::string refused =
        "mounts: an image needs a container of an image, in a pod that is there";
    EXPECT_EQ(create("b", {}, "/mounts")->value().error().message(), refused);

    const runtime::ImageRoot root{.store = "/images", .id = "sha256:1"};
    ASSERT_TRUE(create("b", {}, "/mounts", root)->value().has_value());
    EXPECT_EQ(machine_.added_roots.at(0).volumes,
              (std::vector<runtime::ImageRoot>{{.store = "/images", .id = id}}));
    const std::vector<runtime::MountSpec>& mounts = machine_.guest.specs.at("b").mounts;
    EXPECT_EQ(mounts.at(0).disk, (runtime::DiskId{.serial = "volume0"}));
    EXPECT_EQ(mounts.at(0).source, "sub");
    EXPECT_EQ(mounts.at(1).source, "");
}

TEST_F(PodTest, R2_AContainerIsCreatingFromTheFirstMoment) {
    (void)create("a");
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Creating);
    EXPECT_EQ(status("a"), TaskStatus::Unknown);
    machine_.guest.holds_create = true;
    come_up();
    EXPECT_EQ(status("a"), TaskStatus::Unknown);
    EXPECT_EQ(start("a")->value().error().message(), "container is being created");
    EXPECT_EQ(remove("a")->value().error().message(), "container is being created");
    machine_.guest.answer_creates();
    settle();
    EXPECT_EQ(status("a"), TaskStatus::Created);
}

TEST_F(PodTest, R5_APodThatCannotBeginAnswersCreateWithItsReason) {
    spec_.memory_mib = 100'000;
    const auto created = create("a");
    EXPECT_EQ(created->value().error().message(),
              "memory 100000: must be a whole number from 64 to 65536");
    EXPECT_TRUE(pod_->is_useless());
    EXPECT_FALSE(exists("a"));
}

TEST_F(PodTest, R5_AMachineThatCannotStartLeavesNothing) {
    machine_.start_error = "no kernel";
    EXPECT_EQ(create("a")->value().error().message(), "no kernel");
    EXPECT_TRUE(pod_->is_useless());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, R5_WithoutAPodNothingCanBeCreated) {
    const auto created = ask<std::uint32_t>([&](auto done) {
        pod_->create({.id = "a", .bundle = scratch_ + "/bundle", .io = {}, .pod = {}},
                     std::move(done));
    });
    EXPECT_EQ(created->value().error().code(), Code::FailedPrecondition);
    EXPECT_TRUE(pod_->is_useless());
}

TEST_F(PodTest, R1_KillDuringCreateEndsItAndAnswersWhenNothingIsLeft) {
    const auto created = create("a");
    machine_.boot();
    machine_.powers_off = false;
    const auto killed = kill("a");
    EXPECT_FALSE(killed->has_value());
    EXPECT_FALSE(created->has_value());
    machine_.end("killed");
    settle();
    EXPECT_TRUE(killed->value().has_value());
    EXPECT_EQ(created->value().error().message(), "killed while it was being created");
    EXPECT_TRUE(nothing_is_left());
    EXPECT_TRUE(pod_->is_useless());
}

TEST_F(PodTest, R1_KillWhileTheGuestCreatesEndsIt) {
    machine_.guest.holds_create = true;
    const auto created = create("a");
    come_up();
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_EQ(created->value().error().code(), Code::Aborted);
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, R1_ShutdownDuringCreateEndsIt) {
    const auto created = create("a");
    EXPECT_TRUE(shut_down()->value().has_value());
    EXPECT_EQ(created->value().error().message(), "the pod was stopped");
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, R3_TheStandInsDeathDuringCreateEndsIt) {
    auto [ours, theirs] = *socket_pair();
    runtime::TaskIo io;
    io.proxy = std::move(theirs);
    const auto created = create("a", std::move(io));
    machine_.boot();
    { const Fd dies = std::move(ours); }
    settle();
    EXPECT_EQ(created->value().error().message(), "killed while it was being created");
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, OtherSignalsWaitForTheContainer) {
    (void)create("a");
    EXPECT_EQ(kill("a", SIGTERM)->value().error().message(), "container is being created");
}

TEST_F(PodTest, AGuestThatDoesNotAnswerIsKilledAtTheDeadline) {
    const auto created = create("a");
    clock_.advance(seconds(1000));  // the disks may take their time
    machine_.boot();
    clock_.advance(seconds(59));
    EXPECT_TRUE(machine_.kills.empty());
    clock_.advance(seconds(1));
    settle();
    EXPECT_EQ(created->value().error().message(), "the guest did not answer within 60 s");
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, AGuestThatDoesNotPowerOffIsKilled) {
    run("a");
    machine_.powers_off = false;
    machine_.guest.exit({.container = "a", .exec = ""}, 0);
    settle();
    const auto removed = remove("a");
    clock_.advance(std::chrono::milliseconds(9999));
    EXPECT_TRUE(machine_.kills.empty());
    EXPECT_EQ(remove("a")->value().error().message(), "container is being deleted");
    clock_.advance(std::chrono::milliseconds(1));
    settle();
    EXPECT_TRUE(removed->value().has_value());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, AMicrovmThatEndsStopsItsContainers) {
    run("a");
    const auto exit = wait("a");
    machine_.end("the guest kernel panicked");
    settle();
    EXPECT_EQ(exit->value().error().message(), "the microVM ended: the guest kernel panicked");
    EXPECT_EQ(status("a"), TaskStatus::Stopped);
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Stopped);
    EXPECT_EQ(kill("a")->value().error().message(), "container not running");
    EXPECT_EQ(kill("a")->value().error().code(), Code::NotFound);  // what containerd takes for done
    EXPECT_EQ(create("b")->value().error().message(), "the pod has ended");
    EXPECT_EQ(remove("a")->value().value().exit_status, 255U);
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, AMicrovmThatEndsDuringCreateFailsItWithTheReason) {
    const auto created = create("a");
    machine_.boot();
    machine_.end("qemu: exit status 1: no such option");
    settle();
    EXPECT_EQ(created->value().error().message(), "qemu: exit status 1: no such option");
    EXPECT_TRUE(pod_->is_useless());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, ARunningContainerIsNotDeleted) {
    run("a");
    EXPECT_EQ(remove("a")->value().error().message(), "container is running; kill it first");
    EXPECT_EQ(remove("ghost")->value().error().code(), Code::NotFound);
}

TEST_F(PodTest, ARootThatIsNotPackedIsWrittenInPlace) {
    spec_.packs_roots = false;
    const auto created = create("a");
    const RootSource& root = machine_.first_root.value();
    EXPECT_FALSE(root.is_packed || root.scratch.has_value());
    ASSERT_EQ(root.shared.size(), 1U);
    EXPECT_EQ(root.shared[0].source, scratch_ + "/bundle/rootfs");
    come_up();
    const runtime::RootSpec& told = machine_.guest.specs.at("a").root;
    EXPECT_EQ(told.tree, (runtime::TreePath{.tag = kFilesTag, .path = "a/root"}));
    EXPECT_EQ(told.written_to, runtime::WrittenTo::InPlace);
}

TEST_F(PodTest, ContainersComeAndGoInAnyOrder) {
    run("a");
    run("b");
    EXPECT_EQ(machine_.added_roots.size(), 1U);
    EXPECT_EQ(machine_.guest.specs.at("b").root.disk->serial, "root1");
    EXPECT_EQ(create("b")->value().error().code(), Code::AlreadyExists);
    EXPECT_EQ(status_on_disk("b"), ContainerStatus::Running);
    // The first one goes, the pod and the second stay.
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_EQ(remove("a")->value().value().exit_status, 137U);
    EXPECT_FALSE(exists("a/state.json"));
    EXPECT_EQ(status("b"), TaskStatus::Running);
    EXPECT_EQ(machine_.shutdowns, 0);
    // Its name can be used again.
    run("a");
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Running);
    EXPECT_TRUE(kill("b")->value().has_value());
    EXPECT_EQ(remove("b")->value().value().exit_status, 137U);
    EXPECT_FALSE(exists("b"));
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_TRUE(remove("a")->value().has_value());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, ASecondContainerMayComeWhileTheFirstBoots) {
    const auto first = create("a");
    const auto second = create("b");
    come_up();
    EXPECT_TRUE(first->value().has_value());
    EXPECT_TRUE(second->value().has_value());
    EXPECT_EQ(machine_.guest.specs.at("a").root.disk->serial, "root");
    EXPECT_EQ(machine_.guest.specs.at("b").root.disk->serial, "root1");
}

TEST_F(PodTest, NamespacesOfThePodAndItsContainersAreJoinedByName) {
    run("a");
    const auto make = [this](const std::string& id, const std::string& pid_of) {
        std::filesystem::create_directories(scratch_ + "/bundle-" + id + "/rootfs");
        std::ofstream(scratch_ + "/bundle-" + id + "/config.json")
            << R"({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
                   "process": {"cwd": "/", "args": ["sh"]},
                   "linux": {"namespaces": [{"type": "ipc", "path": "pod:"},
                             {"type": "pid", "path": "container:)"
            << pid_of << R"("}]}})";
        return create(id, {}, "/bundle-" + id);
    };
    EXPECT_TRUE(make("b", "a")->value().has_value());
    const runtime::NamespacesSpec& namespaces = machine_.guest.specs.at("b").namespaces;
    EXPECT_EQ(namespaces.pid_of, "a");
    EXPECT_EQ(namespaces.ipc_of, "");  // the guest's own
    EXPECT_FALSE(namespaces.ipc);
    EXPECT_EQ(make("c", "none")->value().error().message(),
              "linux.namespaces: 'container:none' is not the pid namespace of a container of the "
              "same pod: a microVM cannot join it");
}

TEST_F(PodTest, MountsOfAGuestAreNotSharedWithTheHost) {
    run("a");
    std::filesystem::create_directories(scratch_ + "/bundle-b/rootfs");
    std::ofstream(scratch_ + "/bundle-b/config.json")
        << R"({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
               "process": {"cwd": "/", "args": ["sh"]},
               "mounts": [{"destination": "/m", "source": "/", "options": ["rbind", "rshared"]}]})";
    EXPECT_EQ(create("b", {}, "/bundle-b")->value().error().message(),
              "mount '/m': option 'rshared': mounts of a microVM's guest do not reach the host");
}

TEST_F(PodTest, AMemberHasThePodsHostnameAndParametersOfTheKernel) {
    run_pod("p");
    std::filesystem::create_directories(scratch_ + "/member/rootfs");
    std::ofstream(scratch_ + "/member/config.json")
        << R"({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
               "process": {"cwd": "/", "args": ["sh"]},
               "linux": {"namespaces": [{"type": "ipc", "path": "container:p"},
                         {"type": "uts", "path": "container:p"},
                         {"type": "pid", "path": "container:p"}]}})";
    const auto created = create("m", {}, "/member");
    ASSERT_TRUE(created->value().has_value()) << created->value().error().message();
    const runtime::ContainerSpec& spec = machine_.guest.specs.at("m");
    EXPECT_EQ(spec.hostname, "pod-name");
    EXPECT_TRUE(spec.namespaces.uts);
    EXPECT_FALSE(spec.namespaces.ipc);  // the guest's own, as of pid
    EXPECT_FALSE(spec.namespaces.pid);
    ASSERT_EQ(spec.sysctls.size(), 1U);
    EXPECT_EQ(spec.sysctls[0].name, "kernel.msgmax");
}

TEST_F(PodTest, ARequestIsCompletedBeforeItIsLookedAt) {
    complete_ = [](runtime::TaskCreate& request, runtime::Bundle& bundle) -> Result<void> {
        request.io.proxy_pid = 4712;
        bundle.container.hostname = "changed";
        return {};
    };
    const auto created = create("a");
    come_up();
    EXPECT_EQ(created->value().value(), 4712U);
    EXPECT_EQ(machine_.guest.specs.at("a").hostname, "changed");
}

TEST_F(PodTest, ARequestThatCannotBeCompletedLeavesNothing) {
    complete_ = [](runtime::TaskCreate& /*request*/, runtime::Bundle& /*bundle*/) -> Result<void> {
        return Error(Code::InvalidArgument, "no such option");
    };
    EXPECT_EQ(create("a")->value().error().message(), "no such option");
    EXPECT_TRUE(pod_->is_useless());
    EXPECT_FALSE(exists("a"));
}

TEST_F(PodTest, OneOfTwoIsKilledWhileTheyBoot) {
    const auto first = create("a");
    const auto second = create("b");
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_FALSE(first->value().has_value());
    come_up();
    EXPECT_TRUE(second->value().has_value());
    EXPECT_FALSE(machine_.guest.specs.contains("a"));
}

TEST_F(PodTest, KillDuringTheSecondCreateUndoesThatAlone) {
    run("a");
    machine_.guest.holds_create = true;
    const auto second = create("b");
    const auto killed = kill("b");
    EXPECT_FALSE(killed->has_value());
    machine_.guest.answer_creates();
    settle();
    EXPECT_TRUE(killed->value().has_value());
    EXPECT_FALSE(second->value().has_value());
    EXPECT_EQ(machine_.guest.removed.back().container, "b");
    EXPECT_FALSE(exists("b"));
    EXPECT_EQ(status("a"), TaskStatus::Running);
}

TEST_F(PodTest, ASecondContainerThatTheGuestRefusesLeavesTheFirstAlone) {
    run("a");
    machine_.guest.create_error = "no such program";
    EXPECT_EQ(create("b")->value().error().message(), "no such program");
    EXPECT_FALSE(exists("b"));
    EXPECT_EQ(status("a"), TaskStatus::Running);
    machine_.guest.create_error.reset();
    run("b");
    EXPECT_TRUE(shut_down()->value().has_value());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, ThePodsOwnContainerIsNothingInTheGuest) {
    run_pod("a");
    EXPECT_FALSE(machine_.first_root.has_value());
    EXPECT_TRUE(machine_.guest.specs.empty());
    EXPECT_EQ(status("a"), TaskStatus::Running);
    EXPECT_EQ(start("a")->value().error().message(), "it was started before");
    EXPECT_EQ(exec("a", "sh")->value().error().message(), "the pod's own container has no process");
    EXPECT_TRUE(kill("a", SIGHUP)->value().has_value());
    EXPECT_EQ(status("a"), TaskStatus::Running);
    run("b");
    EXPECT_EQ(machine_.added_roots.size(), 1U);
}

TEST_F(PodTest, TheEndOfThePodsOwnContainerIsThatOfAll) {
    run_pod("a");
    run("b");
    const auto own = wait("a");
    const auto other = wait("b");
    ASSERT_TRUE(kill("a", SIGTERM)->value().has_value());
    EXPECT_EQ(own->value().value().exit_status, 0U);
    EXPECT_EQ(other->value().error().message(), "the microVM ended: the guest powered off");
    EXPECT_EQ(machine_.shutdowns, 1);
    EXPECT_EQ(create("c")->value().error().message(), "the pod has ended");
    EXPECT_TRUE(remove("a")->value().has_value());
    EXPECT_FALSE(pod_->is_over());
    EXPECT_EQ(remove("b")->value().value().exit_status, 255U);
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, APodThatIsStoppingTakesNoContainerAndFailsWhatIsBeingMade) {
    run_pod("a");
    machine_.powers_off = false;
    machine_.guest.holds_create = true;
    const auto made = create("b");
    ASSERT_TRUE(kill("a")->value().has_value());
    EXPECT_EQ(create("c")->value().error().message(), "the pod has ended");
    machine_.guest.answer_creates();
    settle();
    EXPECT_FALSE(made->has_value());
    machine_.end("the guest powered off");
    settle();
    EXPECT_EQ(made->value().error().message(), "the guest powered off");
    EXPECT_EQ(remove("a")->value().value().exit_status, 137U);
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, ThePodsOwnContainerIsDeletedWhileThePodStops) {
    run_pod("a");
    machine_.powers_off = false;
    ASSERT_TRUE(kill("a")->value().has_value());
    const auto removed = remove("a");
    EXPECT_FALSE(removed->has_value());
    machine_.end("the guest powered off");
    settle();
    EXPECT_EQ(removed->value().value().exit_status, 137U);
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, ShutdownSaysWhetherTheShimStays) {
    const auto ask_politely = [this] {
        return ask<bool>([this](auto done) { pod_->shutdown(false, std::move(done)); });
    };
    run("a");
    EXPECT_TRUE(ask_politely()->value().value());
    ASSERT_TRUE(kill("a")->value().has_value());
    ASSERT_TRUE(remove("a")->value().has_value());
    EXPECT_FALSE(ask_politely()->value().value());
    EXPECT_TRUE(pod_->is_useless());
}

TEST_F(PodTest, APausedContainerIsNeitherStartedNorExecedIntoNorDeleted) {
    run("a");
    ASSERT_TRUE(exec("a", "early")->value().has_value());
    ASSERT_TRUE(pause("a")->value().has_value());
    EXPECT_EQ(status("a"), TaskStatus::Paused);
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Paused);
    EXPECT_EQ(pause("a")->value().error().message(), "container is paused");
    EXPECT_EQ(exec("a", "late")->value().error().message(), "container is paused");
    EXPECT_EQ(start("a", "early")->value().error().message(), "container is paused");
    EXPECT_EQ(remove("a")->value().error().message(), "container is running; kill it first");
    ASSERT_TRUE(resume("a")->value().has_value());
    EXPECT_EQ(status("a"), TaskStatus::Running);
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Running);
    EXPECT_EQ(resume("a")->value().error().message(), "container not paused");
    EXPECT_TRUE(start("a", "early")->value().has_value());
    EXPECT_EQ(machine_.guest.paused, std::vector<std::string>{"a"});
    EXPECT_EQ(machine_.guest.resumed, std::vector<std::string>{"a"});
}

TEST_F(PodTest, APausedContainerThatIsKilledIsStopped) {
    run("a");
    ASSERT_TRUE(pause("a")->value().has_value());
    ASSERT_TRUE(kill("a")->value().has_value());
    EXPECT_EQ(status("a"), TaskStatus::Stopped);
    EXPECT_EQ(resume("a")->value().error().message(), "container not running");
    EXPECT_TRUE(remove("a")->value().has_value());
}

TEST_F(PodTest, AContainerThatTheGuestDoesNotPauseRuns) {
    run("a");
    machine_.guest.pause_error = "a process of the container does not stop";
    EXPECT_FALSE(pause("a")->value().has_value());
    EXPECT_EQ(status("a"), TaskStatus::Running);
}

TEST_F(PodTest, WhatIsCreatedMayBePausedToo) {
    const auto created = create("a");
    EXPECT_EQ(pause("a")->value().error().message(), "container is being created");
    come_up();
    ASSERT_TRUE(pause("a")->value().has_value());
    EXPECT_EQ(start("a")->value().error().message(), "container is paused");
    ASSERT_TRUE(resume("a")->value().has_value());
    EXPECT_TRUE(start("a")->value().has_value());
}

TEST_F(PodTest, AGuestIsHeldToThePodsSizeBeforeItsContainersCome) {
    spec_.memory_mib = 300;
    spec_.vcpus = 2;
    run("a");
    EXPECT_EQ(machine_.guest.updated.at(""), to_resources({.memory_bytes = 300 << 20, .cpus = 2}));
}

TEST_F(PodTest, ThePodGrowsAndShrinksWithItsContainer) {
    run("a");
    const auto update = [this](const std::string& id, std::int64_t mib) {
        return ask<void>([&](auto done) {
            pod_->update(id, {.memory_limit_bytes = mib << 20U}, std::move(done));
        });
    };
    const auto pods_memory = [this] { return *machine_.guest.updated.at("").memory_limit_bytes; };
    ASSERT_TRUE(update("a", 700)->value().has_value());
    EXPECT_EQ(pods_memory(), 700 << 20);
    EXPECT_EQ(machine_.guest.updated.at("a").memory_limit_bytes, 700 << 20);
    ASSERT_TRUE(update("a", 100)->value().has_value());
    EXPECT_EQ(pods_memory(), 512 << 20) << "the pod's own is a default, and is left to it";
    EXPECT_EQ(update("a", 2049)->value().error().code(), Code::ResourceExhausted);
    EXPECT_EQ(machine_.guest.updated.at("a").memory_limit_bytes, 100 << 20);
    ASSERT_TRUE(update("", 900)->value().has_value());
    EXPECT_EQ(pods_memory(), 900 << 20);
    ASSERT_TRUE(update("", 200)->value().has_value());
    EXPECT_EQ(pods_memory(), 200 << 20);
    EXPECT_EQ(update("", 2049)->value().error().code(), Code::ResourceExhausted);
    machine_.guest.pause_error = "no such controller";
    EXPECT_FALSE(update("", 300)->value().has_value());
    machine_.guest.pause_error.reset();
    ASSERT_TRUE(update("a", 250)->value().has_value());
    EXPECT_EQ(pods_memory(), 250 << 20) << "a size that the guest refused is forgotten";
}

TEST_F(PodTest, UpdatesAddUp) {
    run("a");
    const auto update = [this](runtime::ResourcesSpec resources) {
        return ask<void>(
            [&](auto done) { pod_->update("a", std::move(resources), std::move(done)); });
    };
    runtime::ResourcesSpec memory;
    memory.memory_limit_bytes = 4096;
    ASSERT_TRUE(update(memory)->value().has_value());
    runtime::ResourcesSpec pids;
    pids.pids_limit = 7;
    ASSERT_TRUE(update(pids)->value().has_value());
    runtime::ResourcesSpec both = memory;
    both.pids_limit = 7;
    EXPECT_EQ(machine_.guest.updated.at("a"), both);
    // One that the guest refuses is forgotten.
    machine_.guest.pause_error = "no such controller";
    runtime::ResourcesSpec refused;
    refused.cpu_shares = 2;
    EXPECT_FALSE(update(refused)->value().has_value());
    machine_.guest.pause_error.reset();
    ASSERT_TRUE(update({})->value().has_value());
    EXPECT_EQ(machine_.guest.updated.at("a"), both);
}

TEST_F(PodTest, PidsAreThoseOfTheStandInsOfWhatRuns) {
    run("a");
    runtime::TaskIo io;
    io.proxy_pid = 4712;
    (void)ask<void>([&](auto done) {
        runtime::ProcessSpec process;
        process.args = {"sh"};
        pod_->exec({.id = {.container = "a", .exec = "x"},
                    .process = std::move(process),
                    .io = std::move(io)},
                   std::move(done));
    });
    ASSERT_TRUE(exec("a", "without")->value().has_value());
    const auto pids = [this] {
        return *ask<std::vector<runtime::TaskProcess>>([this](auto done) {
                    pod_->pids("a", std::move(done));
                })->value();
    };
    EXPECT_EQ(pids(), (std::vector<runtime::TaskProcess>{{.pid = 4711, .exec = ""},
                                                         {.pid = 4712, .exec = "x"}}));
    machine_.guest.exit({.container = "a", .exec = "x"}, 0);
    settle();
    EXPECT_EQ(pids(), (std::vector<runtime::TaskProcess>{{.pid = 4711, .exec = ""}}));
}

TEST_F(PodTest, WhatAContainerUsedIsToldUntilItIsDeleted) {
    run("a");
    machine_.guest.stats_now.pids = 3;
    const auto stats = [this] {
        return ask<runtime::ContainerStats>(
            [this](auto done) { pod_->stats("a", std::move(done)); });
    };
    EXPECT_EQ(stats()->value().value().pids, 3U);
    ASSERT_TRUE(kill("a")->value().has_value());
    EXPECT_EQ(stats()->value().value().pids, 3U);
    machine_.end("the guest kernel panicked");
    settle();
    EXPECT_EQ(stats()->value().error().message(), "container not running");
}

TEST_F(PodTest, AContainersLifeIsToldInOrder) {
    using Kind = runtime::TaskEvent::Kind;
    run("a");
    ASSERT_TRUE(exec("a", "x")->value().has_value());
    ASSERT_TRUE(start("a", "x")->value().has_value());
    machine_.guest.exit({.container = "a", .exec = "x"}, 4);
    settle();
    ASSERT_TRUE(pause("a")->value().has_value());
    ASSERT_TRUE(resume("a")->value().has_value());
    machine_.guest.stats_now.oom_kills = 1;
    ASSERT_TRUE(kill("a")->value().has_value());
    ASSERT_TRUE(remove("a")->value().has_value());
    std::vector<std::pair<Kind, std::string>> told;
    for (const runtime::TaskEvent& event : events_) {
        EXPECT_EQ(event.process.container, "a");
        told.emplace_back(event.kind, event.process.exec);
    }
    EXPECT_EQ(told, (std::vector<std::pair<Kind, std::string>>{{Kind::Create, ""},
                                                               {Kind::Start, ""},
                                                               {Kind::Create, "x"},
                                                               {Kind::Start, "x"},
                                                               {Kind::Exit, "x"},
                                                               {Kind::Paused, ""},
                                                               {Kind::Resumed, ""},
                                                               {Kind::Exit, ""},
                                                               {Kind::Oom, ""},
                                                               {Kind::Delete, ""}}));
    EXPECT_EQ(events_.at(7).task.exit_status, 137U);
    EXPECT_GT(events_.at(7).task.exited_at_ns, 0);
}

TEST_F(PodTest, WhatWasNotMadeIsNotToldOf) {
    run("a");
    events_.clear();
    machine_.guest.create_error = "no such user";
    (void)create("b");
    EXPECT_TRUE(events_.empty());
}

TEST_F(PodTest, ADiskGoesWithItsContainer) {
    run("a");
    run("b");
    ASSERT_TRUE(kill("b")->value().has_value());
    ASSERT_TRUE(remove("b")->value().has_value());
    EXPECT_EQ(machine_.removed_roots, std::vector<std::string>{"root1"});
    // Of the first, with whose disk the machine was started, the disk stays: that is the Microvm's
    // to know.
    run("c");
    ASSERT_TRUE(kill("a")->value().has_value());
    ASSERT_TRUE(remove("a")->value().has_value());
    EXPECT_EQ(machine_.removed_roots, (std::vector<std::string>{"root1", kRootDiskSerial}));
    EXPECT_EQ(status("c"), TaskStatus::Running);
}

TEST_F(PodTest, AContainerIsDeletedThoughItsDiskStays) {
    run("a");
    run("b");
    machine_.remove_root_error = "the guest does not let go of it";
    ASSERT_TRUE(kill("b")->value().has_value());
    ASSERT_TRUE(remove("b")->value().has_value());
    EXPECT_FALSE(exists("b"));
    EXPECT_EQ(status("a"), TaskStatus::Running);
}

TEST_F(PodTest, AContainerWithoutADiskIsNotMade) {
    run("a");
    machine_.add_root_error = "no slot is free";
    EXPECT_EQ(create("b")->value().error().message(), "no slot is free");
    EXPECT_FALSE(exists("b"));
    EXPECT_TRUE(machine_.removed_roots.empty());
    machine_.add_root_error.reset();
    run("b");
    EXPECT_EQ(status("b"), TaskStatus::Running);
}

TEST_F(PodTest, ARefusedContainersDiskIsDetached) {
    run("a");
    machine_.guest.create_error = "no such user";
    EXPECT_EQ(create("b")->value().error().message(), "no such user");
    EXPECT_EQ(machine_.removed_roots, std::vector<std::string>{"root1"});
}

TEST_F(PodTest, ANameThatIsFreeAgainBeforeTheGuestIsUpGetsADiskOfItsOwn) {
    spec_.end = runtime::PodEnd::WhenStopped;
    (void)create("a");
    ASSERT_TRUE(kill("a")->value().has_value());
    const auto again = create("a");
    come_up();
    EXPECT_TRUE(again->value().has_value());
    EXPECT_EQ(machine_.added_roots.size(), 1U);
    EXPECT_EQ(machine_.guest.specs.at("a").root.disk->serial, "root1");
}

TEST_F(PodTest, AMicrovmThatEndsFailsTheCreateAndStopsTheRest) {
    run("a");
    machine_.guest.holds_create = true;
    const auto second = create("b");
    machine_.end("the guest kernel panicked");
    settle();
    EXPECT_FALSE(second->value().has_value());
    EXPECT_EQ(status("a"), TaskStatus::Stopped);
    EXPECT_FALSE(exists("b"));
    EXPECT_FALSE(pod_->is_over());
    EXPECT_TRUE(remove("a")->value().has_value());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, APodWithoutContainersLivesUntilItIsStopped) {
    spec_.name = "pod";
    spec_.end = runtime::PodEnd::WhenStopped;
    const auto begun = ask<void>([&](auto done) { pod_->begin(spec_, std::move(done)); });
    EXPECT_FALSE(machine_.first_root.has_value());
    EXPECT_FALSE(begun->has_value());
    come_up();
    EXPECT_TRUE(begun->value().has_value());
    run("a");
    EXPECT_TRUE(kill("a")->value().has_value());
    EXPECT_TRUE(remove("a")->value().has_value());
    EXPECT_FALSE(pod_->is_over());
    run("a");
    machine_.guest.create_error = "no";
    EXPECT_FALSE(create("c")->value().has_value());
    EXPECT_FALSE(pod_->is_over());
    EXPECT_TRUE(shut_down()->value().has_value());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, APodThatCannotBootAnswersBegin) {
    const auto begun = ask<void>([&](auto done) { pod_->begin(spec_, std::move(done)); });
    machine_.boot();
    machine_.end("the guest kernel panicked");
    settle();
    EXPECT_EQ(begun->value().error().message(), "the guest kernel panicked");
    EXPECT_TRUE(pod_->is_useless());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(PodTest, ExecsBelongToTheirContainer) {
    run("a");
    run("b");
    EXPECT_TRUE(exec("a", "x")->value().has_value());
    EXPECT_TRUE(exec("b", "x")->value().has_value());
    EXPECT_EQ(exec("b", "x")->value().error().code(), Code::AlreadyExists);
    EXPECT_TRUE(start("b", "x")->value().has_value());
    const auto exit = wait("b", "x");
    machine_.guest.exit({.container = "b", .exec = "x"}, 5);
    settle();
    EXPECT_EQ(exit->value().value().exit_status, 5U);
    EXPECT_TRUE(kill("b")->value().has_value());
    EXPECT_TRUE(remove("b")->value().has_value());
    EXPECT_EQ(exec("b", "y")->value().error().code(), Code::NotFound);
    EXPECT_TRUE(start("a", "x")->value().has_value());
}

TEST_F(PodTest, ANameThatIsTakenIsRefused) {
    run("a");
    test::FakeMachine other_machine(*loop_);
    Pod other(*loop_, clock_, test::FakeMicrovm::starter(other_machine),
              {.on_begin = [](const runtime::PodSpec& /*spec*/) {},
               .on_client = [](Fd /*client*/) {},
               .on_over = [] {},
               .on_event = [](const runtime::TaskEvent& /*event*/) {}});
    const auto created = ask<std::uint32_t>([&](auto done) {
        other.create({.id = "a", .bundle = scratch_ + "/bundle", .io = {}, .pod = spec_},
                     std::move(done));
    });
    EXPECT_EQ(created->value().error().message(), "container 'a' already exists");
    EXPECT_TRUE(other.is_useless());
    EXPECT_EQ(status_on_disk("a"), ContainerStatus::Running);
}

}  // namespace
}  // namespace pepita::shim
