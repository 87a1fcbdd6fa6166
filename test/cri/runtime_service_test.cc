#include "cri/runtime_service.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/cni.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/sources.h"
#include "storage/image_store.h"
#include "test/support/tar.h"

namespace pepita::cri {
namespace {

namespace fs = std::filesystem;
using storage::ImageStore;

constexpr const char* kImage = "docker.io/library/busybox:1";

/// A plugin that gives an address, or fails where the directory holds a file "fails".
constexpr std::string_view kPlugin = R"(#!/bin/sh
here=$(dirname "$0")
echo "$CNI_COMMAND" >> "$here/asked"
[ "$CNI_COMMAND" = ADD ] || exit 0
if [ -e "$here/fails" ]; then
    echo '{"cniVersion":"1.0.0","code":11,"msg":"no address is left"}'
    exit 1
fi
echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.8.7/24"},{"address":"fd00::7/64"}]}'
)";

/// RuntimeService with shims that only pretend (fake_shim.cc), a network of one plugin, and a store
/// with one image.
class RuntimeServiceTest : public testing::Test {
protected:
    RuntimeServiceTest() {
        (void)::signal(SIGPIPE, SIG_IGN);  // as main.cc: a shim may die while it is asked
        EXPECT_NE(::mkdtemp(root_.data()), nullptr);
        fs::create_directories(root_ + "/net.d");
        fs::create_directories(root_ + "/bin");
        std::ofstream(root_ + "/net.d/1.conflist")
            << R"({"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"fake"}]})";
        std::ofstream(root_ + "/bin/fake") << kPlugin;
        fs::permissions(root_ + "/bin/fake", fs::perms::owner_all);
        images_ = *ImageStore::open(root_ + "/images");
        add_image();
        cni_.emplace(*loop_, Cni::Options{.config_directory = root_ + "/net.d",
                                          .plugin_directories = {root_ + "/bin"},
                                          .cache_directory = root_ + "/cni",
                                          .plugin_timeout = std::chrono::seconds(20)});
        begin();
    }
    ~RuntimeServiceTest() override {
        for (const v1::PodSandbox& pod : pods()) {
            v1::RemovePodSandboxRequest request;
            request.set_pod_sandbox_id(pod.id());
            EXPECT_TRUE(ask(&RuntimeService::remove_pod_sandbox, request));
        }
        EXPECT_EQ(left(), std::vector<std::string>());
        service_.reset();
        fs::remove_all(root_);
    }

    void add_image() {
        const std::string layer = test::Tar().file("name", "content").bytes();
        const auto digest = *storage::sha256(std::as_bytes(std::span(layer)));
        auto held =
            images_->layer(digest, [&]() -> Result<std::unique_ptr<storage::image::ByteSource>> {
                return std::unique_ptr<storage::image::ByteSource>(
                    std::make_unique<storage::image::MemorySource>(layer));
            });
        ASSERT_TRUE(held) << held.error().message();
        const std::vector<std::string> names{kImage};
        auto added = images_->add(
            {.config = R"({"os":"linux","architecture":"amd64","config":{"Cmd":["run"],)"
                       R"("StopSignal":"SIGUSR1"},"rootfs":{"type":"layers","diff_ids":[")" +
                       digest.text() + "\"]}}",
             .manifest = "{}",
             .names = names},
            std::span(&*held, 1));
        ASSERT_TRUE(added) << added.error().message();
        image_id_ = added->id.text();
    }

    void begin() {
        RuntimeService::Options options;
        options.shim = PEPITA_FAKE_SHIM;
        options.version = "1.2.3";
        options.state = root_ + "/state";
        options.root = root_ + "/run";
        options.data = root_ + "/data";
        options.images = root_ + "/images";
        options.network_namespaces = root_ + "/netns";
        options.memory_mib = memory_mib_;
        auto service = RuntimeService::create(*loop_, std::move(options), *cni_, *images_);
        ASSERT_TRUE(service) << service.error().message();
        service_ = *std::move(service);
    }

    /// Asks, and turns the loop until the answer is there.
    template <typename Request, typename Response>
    Result<Response> ask(void (RuntimeService::*method)(const Request&,
                                                        runtime::OnResult<Response>),
                         const Request& request) {
        std::optional<Result<Response>> answer;
        ((*service_).*method)(request,
                              [&](Result<Response> result) { answer.emplace(std::move(result)); });
        turn_until([&] { return answer.has_value(); });
        return answer ? *std::move(answer) : Error(Code::Internal, "no answer");
    }
    template <typename Condition>
    void turn_until(Condition is_met) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!is_met() && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(std::chrono::milliseconds(100)));
        }
        EXPECT_TRUE(is_met());
    }

    static v1::RunPodSandboxRequest pod_request(const std::string& name) {
        v1::RunPodSandboxRequest request;
        v1::PodSandboxConfig& config = *request.mutable_config();
        config.mutable_metadata()->set_name(name);
        config.mutable_metadata()->set_namespace_("default");
        config.mutable_metadata()->set_uid("uid-" + name);
        config.set_hostname(name);
        (*config.mutable_labels())["app"] = name;
        return request;
    }
    std::string run_pod(const std::string& name = "web") {
        const auto response = ask(&RuntimeService::run_pod_sandbox, pod_request(name));
        EXPECT_TRUE(response) << response.error().message();
        return response ? response->pod_sandbox_id() : "";
    }
    Result<v1::CreateContainerResponse> create(const std::string& pod, const std::string& name,
                                               const std::vector<std::string>& command) {
        v1::CreateContainerRequest request;
        request.set_pod_sandbox_id(pod);
        v1::ContainerConfig& config = *request.mutable_config();
        config.mutable_metadata()->set_name(name);
        config.mutable_image()->set_image(kImage);
        config.mutable_command()->Assign(command.begin(), command.end());
        (*config.mutable_labels())["name"] = name;
        *request.mutable_sandbox_config() = pod_request("web").config();
        return ask(&RuntimeService::create_container, request);
    }
    std::string run_container(const std::string& pod, const std::string& name,
                              const std::vector<std::string>& command) {
        const auto created = create(pod, name, command);
        EXPECT_TRUE(created) << created.error().message();
        const std::string id = created ? created->container_id() : "";
        EXPECT_TRUE(start(id));
        return id;
    }
    Result<v1::StartContainerResponse> start(const std::string& id) {
        v1::StartContainerRequest request;
        request.set_container_id(id);
        return ask(&RuntimeService::start_container, request);
    }
    v1::ContainerStatus status(const std::string& id) {
        v1::ContainerStatusRequest request;
        request.set_container_id(id);
        auto response = ask(&RuntimeService::container_status, request);
        EXPECT_TRUE(response) << response.error().message();
        return response ? response->status() : v1::ContainerStatus();
    }
    v1::ContainerStatus ended(const std::string& id) {
        turn_until([&] { return status(id).state() == v1::CONTAINER_EXITED; });
        return status(id);
    }
    Result<v1::StopContainerResponse> stop(const std::string& id, std::int64_t timeout_s) {
        v1::StopContainerRequest request;
        request.set_container_id(id);
        request.set_timeout(timeout_s);
        return ask(&RuntimeService::stop_container, request);
    }
    Result<v1::RemoveContainerResponse> remove(const std::string& id) {
        v1::RemoveContainerRequest request;
        request.set_container_id(id);
        return ask(&RuntimeService::remove_container, request);
    }
    Result<v1::StopPodSandboxResponse> stop_pod(const std::string& id) {
        v1::StopPodSandboxRequest request;
        request.set_pod_sandbox_id(id);
        return ask(&RuntimeService::stop_pod_sandbox, request);
    }
    v1::PodSandboxStatus pod_status(const std::string& id) {
        v1::PodSandboxStatusRequest request;
        request.set_pod_sandbox_id(id);
        auto response = ask(&RuntimeService::pod_sandbox_status, request);
        EXPECT_TRUE(response) << response.error().message();
        return response ? response->status() : v1::PodSandboxStatus();
    }
    std::vector<v1::PodSandbox> pods(const v1::ListPodSandboxRequest& request = {}) {
        const auto response = ask(&RuntimeService::list_pod_sandbox, request);
        EXPECT_TRUE(response);
        return {response->items().begin(), response->items().end()};
    }

    /// What is left on the host of pods and containers.
    std::vector<std::string> left() const {
        std::vector<std::string> paths;
        for (const char* directory :
             {"state/pods", "state/containers", "state/run", "state/bundles", "netns", "run"}) {
            const fs::path path = root_ + "/" + directory;
            if (!fs::exists(path)) {
                continue;
            }
            for (const auto& entry : fs::directory_iterator(path)) {
                if (entry.path().filename() != "asked") {
                    paths.push_back(entry.path().string());
                }
            }
        }
        return paths;
    }
    /// How often a shim was asked for something.
    std::ptrdiff_t asked(std::string_view what) const {
        std::ifstream file(root_ + "/run/asked");
        std::ptrdiff_t count = 0;
        for (std::string line; std::getline(file, line);) {
            count += line == what ? 1 : 0;
        }
        return count;
    }
    std::string plugin_asked() const { return *read_file(root_ + "/bin/asked"); }

    std::string root_ = "/tmp/pepita-cri-XXXXXX";
    std::uint64_t memory_mib_ = 512;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<ImageStore> images_;
    std::string image_id_;
    std::optional<Cni> cni_;
    std::unique_ptr<RuntimeService> service_;
};

TEST_F(RuntimeServiceTest, APodIsReadyUntilItIsStoppedAndGoneOnceItIsRemoved) {
    const std::string id = run_pod();
    const v1::PodSandboxStatus ready = pod_status(id);
    EXPECT_EQ(ready.state(), v1::SANDBOX_READY);
    EXPECT_EQ(ready.metadata().name(), "web");
    EXPECT_EQ(ready.network().ip(), "10.9.8.7");
    ASSERT_EQ(ready.network().additional_ips_size(), 1);
    EXPECT_EQ(ready.network().additional_ips(0).ip(), "fd00::7");
    EXPECT_GT(ready.created_at(), 0);
    EXPECT_TRUE(fs::exists(root_ + "/netns/pepita-" + id));
    EXPECT_EQ(*read_file(root_ + "/state/run/" + id + "/hostname"), "web\n");

    EXPECT_TRUE(stop_pod(id));
    EXPECT_TRUE(stop_pod(id));
    EXPECT_EQ(pod_status(id).state(), v1::SANDBOX_NOTREADY);
    EXPECT_EQ(pod_status(id).network().ip(), "");
    EXPECT_FALSE(fs::exists(root_ + "/netns/pepita-" + id));
    EXPECT_EQ(plugin_asked(), "ADD\nDEL\n");

    v1::RemovePodSandboxRequest remove;
    remove.set_pod_sandbox_id(id);
    EXPECT_TRUE(ask(&RuntimeService::remove_pod_sandbox, remove));
    EXPECT_TRUE(ask(&RuntimeService::remove_pod_sandbox, remove));
    EXPECT_TRUE(pods().empty());
    EXPECT_EQ(left(), std::vector<std::string>());
}

TEST_F(RuntimeServiceTest, WhatDoesNotExistIsStoppedAndRemovedAlready) {
    EXPECT_TRUE(stop_pod("nothing"));
    EXPECT_TRUE(stop("nothing", 1));
    EXPECT_TRUE(remove("nothing"));
    v1::PodSandboxStatusRequest request;
    request.set_pod_sandbox_id("nothing");
    EXPECT_EQ(ask(&RuntimeService::pod_sandbox_status, request).error().code(), Code::NotFound);
}

TEST_F(RuntimeServiceTest, AConfigurationThatCannotBeIsRefusedByName) {
    const auto refused = [&](auto change) {
        v1::RunPodSandboxRequest request = pod_request("web");
        change(request);
        const auto response = ask(&RuntimeService::run_pod_sandbox, request);
        EXPECT_FALSE(response);
        return response ? "" : response.error().message();
    };
    EXPECT_EQ(
        refused([](auto& request) { request.mutable_config()->mutable_metadata()->clear_uid(); }),
        "config.metadata: name, namespace and uid must not be empty");
    EXPECT_EQ(refused([](auto& request) { request.set_runtime_handler("runc"); }),
              "runtime_handler: 'runc' is none of pepita, pepita-kvm, pepita-tcg, "
              "pepita-process");
    const auto node = [](auto set) {
        return [set](auto& request) {
            set(*request.mutable_config()
                     ->mutable_linux()
                     ->mutable_security_context()
                     ->mutable_namespace_options());
        };
    };
    EXPECT_EQ(
        refused(node([](auto& options) { options.set_network(v1::NODE); })),
        "linux.security_context.namespace_options.network: a microVM cannot be in a namespace "
        "of the host (NODE)");
    EXPECT_NE(refused(node([](auto& options) { options.set_pid(v1::NODE); })).find("options.pid"),
              std::string::npos);
    EXPECT_NE(refused(node([](auto& options) { options.set_ipc(v1::NODE); })).find("options.ipc"),
              std::string::npos);
    EXPECT_EQ(refused([](auto& request) {
                  v1::PortMapping& mapping = *request.mutable_config()->add_port_mappings();
                  mapping.set_host_port(70'000);
                  mapping.set_container_port(80);
              }),
              "config.port_mappings: no port is 70000:80");
    EXPECT_EQ(refused([](auto& request) {
                  request.mutable_config()->mutable_dns_config()->add_servers(
                      "10.0.0.1\nnameserver 6.6.6.6");
              }),
              "config.dns_config: a line end is in a word");
    EXPECT_TRUE(pods().empty());
    EXPECT_EQ(left(), std::vector<std::string>());
}

TEST_F(RuntimeServiceTest, ANameIsTakenOnce) {
    const std::string id = run_pod();
    const auto again = ask(&RuntimeService::run_pod_sandbox, pod_request("web"));
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), Code::AlreadyExists);
    EXPECT_TRUE(create(id, "one", {"run"}));
    const auto taken = create(id, "one", {"run"});
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code(), Code::AlreadyExists);
    EXPECT_TRUE(create(id, "two", {"run"}));
}

TEST_F(RuntimeServiceTest, APodWithoutNetworkLeavesNothing) {
    std::ofstream(root_ + "/bin/fails") << "now";
    const auto response = ask(&RuntimeService::run_pod_sandbox, pod_request("web"));
    ASSERT_FALSE(response);
    EXPECT_NE(response.error().message().find("no address is left"), std::string::npos);
    EXPECT_TRUE(pods().empty());
    EXPECT_EQ(left(), std::vector<std::string>());
}

TEST_F(RuntimeServiceTest, APodThatDoesNotBootLeavesNothing) {
    service_.reset();
    memory_mib_ = 111;  // fake_shim.cc
    begin();
    const auto response = ask(&RuntimeService::run_pod_sandbox, pod_request("web"));
    ASSERT_FALSE(response);
    EXPECT_EQ(response.error().message(), "pod 'web': boot: the guest did not answer");
    EXPECT_EQ(left(), std::vector<std::string>());
    EXPECT_EQ(plugin_asked(), "ADD\nDEL\n");
}

TEST_F(RuntimeServiceTest, AContainerGoesThroughItsStates) {
    const std::string pod = run_pod();
    const auto created = create(pod, "one", {});
    ASSERT_TRUE(created) << created.error().message();
    const std::string id = created->container_id();
    EXPECT_EQ(status(id).state(), v1::CONTAINER_CREATED);
    EXPECT_EQ(status(id).image_id(), image_id_);
    EXPECT_EQ(status(id).image_ref(), image_id_);
    ASSERT_TRUE(start(id));
    EXPECT_EQ(status(id).state(), v1::CONTAINER_RUNNING);
    EXPECT_GT(status(id).started_at(), 0);
    EXPECT_EQ(start(id).error().code(), Code::FailedPrecondition);
    // The image's STOPSIGNAL.
    ASSERT_TRUE(stop(id, 10));
    EXPECT_EQ(asked("signal " + std::to_string(SIGUSR1)), 1);
    EXPECT_EQ(status(id).state(), v1::CONTAINER_EXITED);
    EXPECT_EQ(status(id).exit_code(), 128 + SIGUSR1);
    EXPECT_EQ(status(id).reason(), "Error");
    ASSERT_TRUE(remove(id));
    v1::ContainerStatusRequest request;
    request.set_container_id(id);
    EXPECT_EQ(ask(&RuntimeService::container_status, request).error().code(), Code::NotFound);
}

TEST_F(RuntimeServiceTest, AContainersUserAndItsMountedImagesAreTold) {
    v1::CreateContainerRequest request;
    request.set_pod_sandbox_id(run_pod());
    v1::ContainerConfig& config = *request.mutable_config();
    config.mutable_metadata()->set_name("one");
    config.mutable_image()->set_image(kImage);
    auto& security = *config.mutable_linux()->mutable_security_context();
    security.mutable_run_as_user()->set_value(1000);
    security.mutable_run_as_group()->set_value(77);
    security.add_supplemental_groups(5);
    auto& mount = *config.add_mounts();
    mount.set_container_path("/data");
    mount.set_readonly(true);
    mount.mutable_image()->set_image("other:1");
    const auto missing = ask(&RuntimeService::create_container, request);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code(), Code::NotFound);
    EXPECT_EQ(missing.error().message(),
              "ImageVolumeMountFailed: config.mounts: image 'other:1' is not here");
    mount.mutable_image()->set_image(kImage);
    const auto created = ask(&RuntimeService::create_container, request);
    ASSERT_TRUE(created) << created.error().message();
    const v1::ContainerStatus told = status(created->container_id());
    EXPECT_EQ(told.mounts(0).image().image_ref(), image_id_);
    EXPECT_EQ(told.user().linux().uid(), 1000);
    EXPECT_EQ(told.user().linux().gid(), 77);
    ASSERT_EQ(told.user().linux().supplemental_groups_size(), 2);
    EXPECT_EQ(told.user().linux().supplemental_groups(0), 5);
    EXPECT_EQ(told.user().linux().supplemental_groups(1), 77);
}

TEST_F(RuntimeServiceTest, FilesOfAPodBelongToItsRootUser) {
    v1::RunPodSandboxRequest request = pod_request("web");
    auto& user = *request.mutable_config()
                      ->mutable_linux()
                      ->mutable_security_context()
                      ->mutable_namespace_options()
                      ->mutable_userns_options();
    EXPECT_EQ(ask(&RuntimeService::run_pod_sandbox, request).error().message(),
              "linux.security_context.namespace_options.userns_options.uids: must be one mapping");
    for (auto* mapping : {user.add_uids(), user.add_gids()}) {
        mapping->set_host_id(65'536);
        mapping->set_length(65'536);
    }
    const auto started = ask(&RuntimeService::run_pod_sandbox, request);
    ASSERT_TRUE(started) << started.error().message();
    struct stat about{};
    const std::string hosts = root_ + "/state/run/" + started->pod_sandbox_id() + "/hosts";
    ASSERT_EQ(::stat(hosts.c_str(), &about), 0);
    EXPECT_EQ(about.st_uid, 65'536U);
    EXPECT_EQ(about.st_gid, 65'536U);
}

TEST_F(RuntimeServiceTest, AnEndHasItsReason) {
    const std::string pod = run_pod();
    const std::string fine = run_container(pod, "fine", {"exit:0"});
    EXPECT_EQ(ended(fine).reason(), "Completed");
    const std::string bad = run_container(pod, "bad", {"exit:3"});
    EXPECT_EQ(ended(bad).exit_code(), 3);
    EXPECT_EQ(ended(bad).reason(), "Error");
    const std::string oom = run_container(pod, "oom", {"oom"});
    EXPECT_EQ(ended(oom).exit_code(), 137);
    EXPECT_EQ(ended(oom).reason(), "OOMKilled");
}

TEST_F(RuntimeServiceTest, AStubbornContainerIsKilledInTheEnd) {
    const std::string id = run_container(run_pod(), "one", {"stubborn"});
    ASSERT_TRUE(stop(id, 1));
    EXPECT_EQ(status(id).exit_code(), 137);
    EXPECT_EQ(asked("signal 9"), 1);
}

TEST_F(RuntimeServiceTest, AContainerIsRemovedInEveryState) {
    const std::string pod = run_pod();
    const std::string created = create(pod, "created", {"run"})->container_id();
    const std::string running = run_container(pod, "running", {"stubborn"});
    const std::string over = run_container(pod, "over", {"exit:0"});
    (void)ended(over);
    for (const std::string& id : {created, running, over}) {
        ASSERT_TRUE(remove(id));
    }
    EXPECT_EQ(ask(&RuntimeService::list_containers, {})->containers_size(), 0);
    EXPECT_EQ(asked("Delete"), 3);
}

TEST_F(RuntimeServiceTest, WhatCannotBeMadeOrStartedSaysWhy) {
    const std::string pod = run_pod();
    const auto no_room = create(pod, "one", {"no-create"});
    ASSERT_FALSE(no_room);
    EXPECT_EQ(no_room.error().message(), "container 'one': there is no room");
    EXPECT_EQ(ask(&RuntimeService::list_containers, {})->containers_size(), 0);
    const std::string id = create(pod, "one", {"no-start"})->container_id();
    const auto started = start(id);
    ASSERT_FALSE(started);
    EXPECT_NE(started.error().message().find("No such file"), std::string::npos);
    EXPECT_EQ(status(id).state(), v1::CONTAINER_EXITED);
    EXPECT_EQ(status(id).reason(), "StartError");
    v1::CreateContainerRequest unknown;
    unknown.set_pod_sandbox_id(pod);
    unknown.mutable_config()->mutable_metadata()->set_name("two");
    unknown.mutable_config()->mutable_image()->set_image("other");
    const auto missing = ask(&RuntimeService::create_container, unknown);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code(), Code::NotFound);
    unknown.mutable_config()->set_log_path("../../etc/passwd");
    EXPECT_EQ(ask(&RuntimeService::create_container, unknown).error().code(),
              Code::InvalidArgument);
}

TEST_F(RuntimeServiceTest, StoppingAPodEndsItsContainers) {
    const std::string pod = run_pod();
    const std::string id = run_container(pod, "one", {"run"});
    ASSERT_TRUE(stop_pod(pod));
    EXPECT_EQ(status(id).state(), v1::CONTAINER_EXITED);
    EXPECT_EQ(status(id).exit_code(), 137);
    EXPECT_EQ(create(pod, "two", {"run"}).error().code(), Code::FailedPrecondition);
    EXPECT_TRUE(remove(id));
}

TEST_F(RuntimeServiceTest, ListsAreFiltered) {
    const std::string web = run_pod("web");
    const std::string db = run_pod("db");
    v1::ListPodSandboxRequest request;
    (*request.mutable_filter()->mutable_label_selector())["app"] = "db";
    ASSERT_EQ(pods(request).size(), 1);
    EXPECT_EQ(pods(request).front().id(), db);
    request.mutable_filter()->clear_label_selector();
    request.mutable_filter()->set_id(web.substr(0, 12));
    ASSERT_EQ(pods(request).size(), 1);
    EXPECT_EQ(pods(request).front().id(), web);
    request.mutable_filter()->mutable_state()->set_state(v1::SANDBOX_NOTREADY);
    EXPECT_TRUE(pods(request).empty());

    const std::string one = run_container(web, "one", {"run"});
    (void)create(web, "two", {"run"});
    v1::ListContainersRequest containers;
    EXPECT_EQ(ask(&RuntimeService::list_containers, containers)->containers_size(), 2);
    containers.mutable_filter()->mutable_state()->set_state(v1::CONTAINER_RUNNING);
    ASSERT_EQ(ask(&RuntimeService::list_containers, containers)->containers_size(), 1);
    EXPECT_EQ(ask(&RuntimeService::list_containers, containers)->containers(0).id(), one);
    containers.mutable_filter()->set_pod_sandbox_id(db);
    EXPECT_EQ(ask(&RuntimeService::list_containers, containers)->containers_size(), 0);
}

TEST_F(RuntimeServiceTest, ACommandsOutputAndStatusComeBack) {
    const std::string id = run_container(run_pod(), "one", {"run"});
    v1::ExecSyncRequest request;
    request.set_container_id(id);
    request.add_cmd("echo");
    request.add_cmd("hello\n");
    const auto response = ask(&RuntimeService::exec_sync, request);
    ASSERT_TRUE(response) << response.error().message();
    EXPECT_EQ(response->stdout(), "hello\n");
    EXPECT_EQ(response->exit_code(), 0);
    request.clear_cmd();
    request.add_cmd("exit:7");
    EXPECT_EQ(ask(&RuntimeService::exec_sync, request)->exit_code(), 7);
    request.clear_cmd();
    request.add_cmd("no-start");
    EXPECT_FALSE(ask(&RuntimeService::exec_sync, request));
    request.clear_cmd();
    request.add_cmd("stubborn");
    request.set_timeout(1);
    const auto late = ask(&RuntimeService::exec_sync, request);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code(), Code::DeadlineExceeded);
    request.clear_cmd();
    EXPECT_EQ(ask(&RuntimeService::exec_sync, request).error().code(), Code::InvalidArgument);
    turn_until([&] { return asked("Delete") == 4; });  // no process is left
}

TEST_F(RuntimeServiceTest, WhatIsUsedIsTold) {
    const std::string pod = run_pod();
    const std::string id = run_container(pod, "one", {"run"});
    v1::ContainerStatsRequest request;
    request.set_container_id(id);
    const auto stats = ask(&RuntimeService::container_stats, request);
    ASSERT_TRUE(stats);
    EXPECT_EQ(stats->stats().attributes().id(), id);
    EXPECT_EQ(stats->stats().cpu().usage_core_nano_seconds().value(), 300'000);
    EXPECT_EQ(stats->stats().memory().working_set_bytes().value(), 4000);
    (void)create(pod, "two", {"run"});
    EXPECT_EQ(ask(&RuntimeService::list_container_stats, {})->stats_size(), 2);
    v1::PodSandboxStatsRequest of_pod;
    of_pod.set_pod_sandbox_id(pod);
    const auto pod_stats = ask(&RuntimeService::pod_sandbox_stats, of_pod);
    ASSERT_TRUE(pod_stats);
    EXPECT_EQ(pod_stats->stats().linux().containers_size(), 2);
    EXPECT_EQ(pod_stats->stats().linux().cpu().usage_core_nano_seconds().value(), 500'000);
    EXPECT_EQ(pod_stats->stats().linux().process().process_count().value(), 3);
    EXPECT_EQ(ask(&RuntimeService::list_pod_sandbox_stats, {})->stats_size(), 1);
}

TEST_F(RuntimeServiceTest, LimitsAreChanged) {
    const std::string id = run_container(run_pod(), "one", {"run"});
    v1::UpdateContainerResourcesRequest request;
    request.set_container_id(id);
    request.mutable_linux()->set_memory_limit_in_bytes(64 << 20);
    ASSERT_TRUE(ask(&RuntimeService::update_container_resources, request));
    EXPECT_EQ(asked("memory " + std::to_string(64 << 20)), 1);
    EXPECT_EQ(status(id).resources().linux().memory_limit_in_bytes(), 64 << 20);
}

TEST_F(RuntimeServiceTest, APodsLimitsAreChanged) {
    const std::string pod = run_pod();
    v1::UpdatePodSandboxResourcesRequest request;
    request.set_pod_sandbox_id(pod);
    ASSERT_TRUE(ask(&RuntimeService::update_pod_sandbox_resources, request));
    EXPECT_EQ(asked("pod's memory 0"), 0) << "nothing is to be changed";
    request.mutable_resources()->set_memory_limit_in_bytes(64 << 20);
    ASSERT_TRUE(ask(&RuntimeService::update_pod_sandbox_resources, request));
    EXPECT_EQ(asked("pod's memory " + std::to_string(64 << 20)), 1);
    request.mutable_resources()->set_memory_limit_in_bytes(99);  // fake_shim.cc
    const auto refused = ask(&RuntimeService::update_pod_sandbox_resources, request);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::ResourceExhausted);
}

TEST_F(RuntimeServiceTest, EventsTellOfEachChange) {
    std::vector<v1::ContainerEventType> seen;
    service_->watch_events([&](const v1::ContainerEventResponse& event) {
        seen.push_back(event.container_event_type());
        EXPECT_EQ(event.pod_sandbox_status().state(), v1::SANDBOX_READY);
        return seen.size() < 4;
    });
    const std::string id = run_container(run_pod(), "one", {"exit:0"});
    (void)ended(id);
    ASSERT_TRUE(remove(id));
    EXPECT_EQ(seen, (std::vector{v1::CONTAINER_CREATED_EVENT, v1::CONTAINER_STARTED_EVENT,
                                 v1::CONTAINER_STOPPED_EVENT, v1::CONTAINER_DELETED_EVENT}));
}

TEST_F(RuntimeServiceTest, OneThatStartsFindsThePodsOfTheOneBefore) {
    const std::string pod = run_pod();
    const std::string id = run_container(pod, "one", {"run"});
    const std::string waits = create(pod, "two", {"run"})->container_id();
    service_.reset();
    begin();
    EXPECT_EQ(pod_status(pod).state(), v1::SANDBOX_READY);
    EXPECT_EQ(pod_status(pod).network().ip(), "10.9.8.7");
    EXPECT_EQ(status(id).state(), v1::CONTAINER_RUNNING);
    EXPECT_EQ(status(waits).state(), v1::CONTAINER_CREATED);
    ASSERT_TRUE(start(waits));
    ASSERT_TRUE(stop(id, 10));
    EXPECT_EQ(status(id).exit_code(), 128 + SIGUSR1);
}

TEST_F(RuntimeServiceTest, AnEndThatNobodyWatchedIsFoundLater) {
    const std::string pod = run_pod();
    const std::string id = run_container(pod, "one", {"run"});
    v1::PodSandboxStatusRequest verbose;
    verbose.set_pod_sandbox_id(pod);
    verbose.set_verbose(true);
    const int shim = std::stoi(ask(&RuntimeService::pod_sandbox_status, verbose)->info().at("pid"));
    service_.reset();
    ASSERT_EQ(::kill(shim, SIGKILL), 0);
    fs::remove(root_ + "/run/" + pod + "/shim.sock");
    fs::remove(root_ + "/run/" + pod);
    begin();
    EXPECT_EQ(pod_status(pod).state(), v1::SANDBOX_NOTREADY);
    EXPECT_EQ(status(id).state(), v1::CONTAINER_EXITED);
    EXPECT_EQ(status(id).exit_code(), 255);
}

TEST_F(RuntimeServiceTest, AShimThatDiesTakesItsPodAlongAndNoOther) {
    const std::string pod = run_pod("web");
    const std::string other = run_pod("db");
    const std::string id = run_container(pod, "one", {"run"});
    v1::PodSandboxStatusRequest verbose;
    verbose.set_pod_sandbox_id(pod);
    verbose.set_verbose(true);
    const int shim = std::stoi(ask(&RuntimeService::pod_sandbox_status, verbose)->info().at("pid"));
    ASSERT_EQ(::kill(shim, SIGKILL), 0);
    turn_until([&] { return pod_status(pod).state() == v1::SANDBOX_NOTREADY; });
    EXPECT_EQ(status(id).state(), v1::CONTAINER_EXITED);
    EXPECT_EQ(status(id).exit_code(), 255);
    EXPECT_EQ(pod_status(other).state(), v1::SANDBOX_READY);
    fs::remove(root_ + "/run/" + pod + "/shim.sock");
    fs::remove(root_ + "/run/" + pod);
}

TEST_F(RuntimeServiceTest, AMicrovmThatDiesTakesItsContainersAlong) {
    const std::string pod = run_pod();
    const std::string fine = run_container(pod, "fine", {"exit:0"});
    EXPECT_EQ(ended(fine).exit_code(), 0);
    const std::string beside = run_container(pod, "beside", {"run"});
    const std::string last = run_container(pod, "last", {"panic"});
    for (const std::string& id : {beside, last}) {
        EXPECT_EQ(ended(id).exit_code(), 255);
        EXPECT_EQ(ended(id).message(), "the microVM ended: panic");
    }
    turn_until([&] { return pod_status(pod).state() == v1::SANDBOX_NOTREADY; });
    EXPECT_EQ(status(fine).exit_code(), 0);
}

TEST_F(RuntimeServiceTest, WhatWasBegunAndNobodyKnowsOfIsSwept) {
    const std::string pod = run_pod();
    const std::string id = create(pod, "one", {"run"})->container_id();
    service_.reset();
    fs::create_directories(root_ + "/state/bundles/unknown/rootfs");
    fs::create_directories(root_ + "/state/run/unknown");
    begin();
    EXPECT_FALSE(fs::exists(root_ + "/state/bundles/unknown"));
    EXPECT_FALSE(fs::exists(root_ + "/state/run/unknown"));
    EXPECT_TRUE(fs::exists(root_ + "/state/bundles/" + id));
    EXPECT_TRUE(start(id));
}

TEST_F(RuntimeServiceTest, ContainersThatAreBeingRemovedGoWithTheirPod) {
    const std::string pod = run_pod();
    const std::string one = run_container(pod, "one", {"run"});
    const std::string two = run_container(pod, "two", {"run"});
    v1::PodSandboxStatusRequest verbose;
    verbose.set_pod_sandbox_id(pod);
    verbose.set_verbose(true);
    const int shim = std::stoi(ask(&RuntimeService::pod_sandbox_status, verbose)->info().at("pid"));
    ASSERT_EQ(::kill(shim, SIGSTOP), 0);
    int removed = 0;
    for (const std::string& id : {one, two}) {
        v1::RemoveContainerRequest request;
        request.set_container_id(id);
        service_->remove_container(request, [&](const Result<v1::RemoveContainerResponse>& gone) {
            EXPECT_TRUE(gone);
            ++removed;
        });
    }
    ASSERT_EQ(::kill(shim, SIGKILL), 0);
    turn_until([&] { return removed == 2; });
    EXPECT_EQ(ask(&RuntimeService::list_containers, {})->containers_size(), 0);
    fs::remove(root_ + "/run/" + pod + "/shim.sock");
    fs::remove(root_ + "/run/" + pod);
}

TEST_F(RuntimeServiceTest, ADamagedRecordIsLeftAlone) {
    service_.reset();
    const std::string path = root_ + "/state/pods/damaged";
    std::ofstream(path) << "\x0a\xff";
    begin();
    EXPECT_TRUE(pods().empty());
    EXPECT_TRUE(fs::exists(path));
    fs::remove(path);
}

}  // namespace
}  // namespace pepita::cri
