#pragma once

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
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_spec.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "shim/machine_plan.h"
#include "shim/microvm.h"
#include "shim/pod.h"
#include "test/support/fake_microvm.h"

namespace pepita::test {

inline constexpr const char* kPodTestConfig = R"({"ociVersion": "1.0.2", "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["sh"], "env": [], "user": {"uid": 0, "gid": 0}}, "linux": {}})";

/// An answer that may not have come yet.
template <typename T>
using Answer = std::shared_ptr<std::optional<Result<T>>>;

// The test plays the clients, the machine and the guest.
class PodTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "needs root to give a directory to the machine's user";
        }
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        std::filesystem::create_directories(scratch_ + "/bundle/rootfs");
        std::ofstream(scratch_ + "/bundle/config.json") << kPodTestConfig;
        spec_.name = "a";
        spec_.root = scratch_ + "/state";
        spec_.packs_roots = true;
        spec_.isolation = runtime::IsolationChoice::Tcg;
        spec_.boot_deadline = std::chrono::seconds(60);
    }
    void TearDown() override {
        pod_.reset();
        settle();
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }

    /// Turns the loop until nothing is left to do.
    void settle() {
        for (int round = 0; round < 30; ++round) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(0)).has_value());
        }
    }
    template <typename T, typename Ask>
    Answer<T> ask(Ask request) {
        auto answer = std::make_shared<std::optional<Result<T>>>();
        request(runtime::OnResult<T>(
            [answer](Result<T> result) { answer->emplace(std::move(result)); }));
        settle();
        return answer;
    }
    Answer<std::uint32_t> create(const std::string& id, runtime::TaskIo io = {},
                                 const std::string& bundle = "/bundle",
                                 std::optional<runtime::ImageRoot> image = std::nullopt) {
        io.proxy_pid = 4711;
        return ask<std::uint32_t>([&](auto done) {
            pod_->create({.id = id,
                          .bundle = scratch_ + bundle,
                          .io = std::move(io),
                          .pod = spec_,
                          .image = std::move(image)},
                         std::move(done));
        });
    }
    Answer<runtime::TaskStarted> start(const std::string& id, const std::string& exec = "") {
        return ask<runtime::TaskStarted>(
            [&](auto done) { pod_->start({.container = id, .exec = exec}, std::move(done)); });
    }
    Answer<void> kill(const std::string& id, std::uint32_t signal = SIGKILL) {
        return ask<void>([&](auto done) {
            pod_->kill({.container = id, .exec = ""}, signal, false, std::move(done));
        });
    }
    Answer<runtime::TaskExit> wait(const std::string& id, const std::string& exec = "") {
        return ask<runtime::TaskExit>(
            [&](auto done) { pod_->wait({.container = id, .exec = exec}, std::move(done)); });
    }
    Answer<runtime::TaskExit> remove(const std::string& id) {
        return ask<runtime::TaskExit>(
            [&](auto done) { pod_->remove({.container = id, .exec = ""}, std::move(done)); });
    }
    Answer<void> exec(const std::string& id, const std::string& exec_id) {
        return ask<void>([&](auto done) {
            runtime::ProcessSpec process;
            process.args = {"sh"};
            pod_->exec(
                {.id = {.container = id, .exec = exec_id}, .process = std::move(process), .io = {}},
                std::move(done));
        });
    }
    Answer<void> pause(const std::string& id) {
        return ask<void>([&](auto done) { pod_->pause(id, std::move(done)); });
    }
    Answer<void> resume(const std::string& id) {
        return ask<void>([&](auto done) { pod_->resume(id, std::move(done)); });
    }
    Answer<void> create_sandbox() {
        spec_.end = runtime::PodEnd::WhenStopped;
        return ask<void>([&](auto done) { pod_->create_sandbox(spec_, std::move(done)); });
    }
    Answer<runtime::SandboxStarted> start_sandbox() {
        return ask<runtime::SandboxStarted>(
            [&](auto done) { pod_->start_sandbox(std::move(done)); });
    }
    Answer<void> stop_sandbox(std::chrono::seconds patience = std::chrono::seconds(0)) {
        return ask<void>([&](auto done) { pod_->stop_sandbox(patience, std::move(done)); });
    }
    Answer<runtime::TaskExit> wait_sandbox() {
        return ask<runtime::TaskExit>([&](auto done) { pod_->wait_sandbox(std::move(done)); });
    }
    bool is_ready() {
        return ask<runtime::SandboxStatus>(
                   [&](auto done) { pod_->sandbox_status(std::move(done)); })
            ->value()
            ->is_ready;
    }
    Answer<bool> shut_down() {
        return ask<bool>([&](auto done) { pod_->shutdown(true, std::move(done)); });
    }
    runtime::TaskStatus status(const std::string& id) {
        const auto state = ask<runtime::TaskState>(
            [&](auto done) { pod_->state({.container = id, .exec = ""}, std::move(done)); });
        return state->value().value().status;
    }
    void come_up() {
        machine_.come_up();
        settle();
    }
    /// The pod's own container, as callers of runc have it, in a pod that is up.
    void run_pod(const std::string& id) {
        std::filesystem::create_directories(scratch_ + "/pause/rootfs");
        std::string config(kPodTestConfig);
        config.insert(1, R"("annotations": {"io.kubernetes.cri.container-type": "sandbox"},)");
        constexpr std::string_view linux = R"("linux": {})";
        config.replace(config.find(linux), linux.size(), R"("hostname": "pod-name", "linux": {
            "sysctl": {"kernel.msgmax": "9000"}, "namespaces": [{"type": "uts"}, {"type": "ipc"}]})");
        std::ofstream(scratch_ + "/pause/config.json") << config;
        const auto created = create(id, {}, "/pause");
        come_up();
        ASSERT_EQ(created->value().value(), 4711U);
        ASSERT_TRUE(start(id)->value().has_value());
    }
    /// A container that runs, in a pod that is up.
    void run(const std::string& id) {
        const auto created = create(id);
        if (!machine_.is_up) {
            come_up();
        }
        ASSERT_EQ(created->value().value(), 4711U);
        ASSERT_TRUE(start(id)->value().has_value());
    }
    runtime::ContainerStatus status_on_disk(const std::string& id) const {
        const auto directory = open_file((spec_.root + "/" + id).c_str(), O_RDONLY | O_DIRECTORY);
        return runtime::read_state(directory.value().ref()).value().status;
    }
    bool exists(const std::string& name) const {
        struct stat about{};
        return ::lstat((spec_.root + "/" + name).c_str(), &about) == 0;
    }
    bool nothing_is_left() const {
        return pod_->is_over() && !machine_.callbacks && std::filesystem::is_empty(spec_.root);
    }

    std::string scratch_ = "/tmp/pepita-pod-XXXXXX";
    runtime::PodSpec spec_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    FakeClock clock_;
    FakeMachine machine_{*loop_};
    int over_ = 0;
    std::vector<runtime::TaskEvent> events_;
    shim::Pod::OnCreate complete_;  // none: requests are complete
    std::unique_ptr<shim::Pod> pod_ = std::make_unique<shim::Pod>(
        *loop_, clock_, FakeMicrovm::starter(machine_),
        shim::Pod::Callbacks{
            .on_begin = [](const runtime::PodSpec& /*spec*/) {},
            .on_client = [](Fd /*client*/) {},
            .on_over = [this] { ++over_; },
            .on_event = [this](const runtime::TaskEvent& event) { events_.push_back(event); },
            .on_create = [this](runtime::TaskCreate& request,
                                runtime::Bundle& bundle) -> Result<void> {
                return complete_ ? complete_(request, bundle) : Result<void>();
            }});
};

}  // namespace pepita::test
