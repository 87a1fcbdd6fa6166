#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"

namespace pepita::runtime {

/// What clients ask of pepita-shim about its pod as a whole (containerd.runtime.sandbox.v1),
/// without a word of protobuf. Clients: pepita-cri, containerd.

struct SandboxStarted {
    std::uint32_t pid = 0;           // of the shim
    std::int64_t created_at_ns = 0;  // since 1970
};

struct SandboxStatus {
    std::uint32_t pid = 0;
    bool is_ready = false;  // its guest answers
    std::int64_t created_at_ns = 0;
    std::int64_t exited_at_ns = 0;            // 0: it has not
    std::map<std::string, std::string> info;  // for people
};

/// The client's end, as TaskClient. `pod` is the pod's name; that of another pod is NotFound.
class SandboxClient {
public:
    explicit SandboxClient(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}

    /// The pod `spec.name` begins to boot.
    void create(const PodSpec& spec, OnResult<void> done);
    /// Answers when the guest is up.
    void start(const std::string& pod, OnResult<SandboxStarted> done);
    /// Answers when the guest is down; killed where it is not by then. 0: a time of the shim's.
    void stop(const std::string& pod, std::chrono::seconds patience, OnResult<void> done);
    /// Answers when the guest is down: 0 where it was stopped, else 255.
    void wait(const std::string& pod, OnResult<TaskExit> done);
    void status(const std::string& pod, OnResult<SandboxStatus> done);
    /// What its containers have used together.
    void stats(const std::string& pod, OnResult<ContainerStats> done);
    /// Ends the pod with all that it has, and the shim.
    void shutdown(const std::string& pod, OnResult<void> done);

private:
    std::shared_ptr<Channel> channel_;
};

/// The shim's end.
class SandboxService {
public:
    SandboxService() = default;
    SandboxService(const SandboxService&) = delete;
    SandboxService& operator=(const SandboxService&) = delete;
    SandboxService(SandboxService&&) = delete;
    SandboxService& operator=(SandboxService&&) = delete;
    virtual ~SandboxService() = default;
    /// Begins to boot.
    virtual void create_sandbox(PodSpec spec, OnResult<void> done) = 0;
    /// Answers when the guest is up.
    virtual void start_sandbox(OnResult<SandboxStarted> done) = 0;
    /// Answers when the guest is down; killed where it is not by then. 0: a time of the shim's.
    virtual void stop_sandbox(std::chrono::seconds patience, OnResult<void> done) = 0;
    /// Answers when the guest is down: 0 where it was stopped, else 255.
    virtual void wait_sandbox(OnResult<TaskExit> done) = 0;
    virtual void sandbox_status(OnResult<SandboxStatus> done) = 0;
    virtual void shutdown_sandbox(OnResult<void> done) = 0;
    /// What its containers have used together.
    virtual void sandbox_stats(OnResult<ContainerStats> done) = 0;
    /// "" before there is one.
    virtual const std::string& sandbox_id() const = 0;
};

/// Whether a call is one of this service.
bool is_sandbox_call(const Channel::Call& call);

/// NotFound for a pod that is not this one; the rest as the task API's.
void dispatch(SandboxService& service, Channel::Call call);

}  // namespace pepita::runtime
