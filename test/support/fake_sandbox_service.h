#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/on_result.h"
#include "runtime/sandbox_api.h"
#include "runtime/task_api.h"
#include "test/support/answering.h"

namespace pepita::test {

/// Notes what it was asked, and answers with what it was told to: always `error` where there is
/// one.
class FakeSandboxService : public runtime::SandboxService,
                           public Answering<Code::FailedPrecondition> {
public:
    void create_sandbox(runtime::PodSpec spec, runtime::OnResult<void> done) override {
        method = "create";
        created = std::move(spec);
        answer(std::move(done));
    }
    void start_sandbox(runtime::OnResult<runtime::SandboxStarted> done) override {
        method = "start";
        answer(std::move(done), {.pid = 7, .created_at_ns = 1'500'000'000});
    }
    void stop_sandbox(std::chrono::seconds given, runtime::OnResult<void> done) override {
        method = "stop";
        patience = given;
        answer(std::move(done));
    }
    void wait_sandbox(runtime::OnResult<runtime::TaskExit> done) override {
        method = "wait";
        answer(std::move(done), {.exit_status = 255, .exited_at_ns = 2'000'000'001, .pid = 0});
    }
    void sandbox_status(runtime::OnResult<runtime::SandboxStatus> done) override {
        method = "status";
        answer(std::move(done), status);
    }
    void shutdown_sandbox(runtime::OnResult<void> done) override {
        method = "shutdown";
        answer(std::move(done));
    }
    void sandbox_stats(runtime::OnResult<runtime::ContainerStats> done) override {
        method = "stats";
        answer(std::move(done), used);
    }
    const std::string& sandbox_id() const override { return id; }

    std::string method;
    runtime::PodSpec created;
    std::chrono::seconds patience{0};
    runtime::SandboxStatus status;
    runtime::ContainerStats used;
    std::string id = "pod";
};

}  // namespace pepita::test
