#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"
#include "test/support/answering.h"

namespace pepita::test {

/// Notes what it was asked, and answers with what it was told to: always `error` where there is
/// one.
class FakeTaskService : public runtime::TaskService, public Answering<Code::NotFound> {
public:
    void create(runtime::TaskCreate request, runtime::OnResult<std::uint32_t> done) override {
        asked("create", {});
        created = std::move(request);
        answer(std::move(done), 4711U);
    }
    void start(runtime::ProcessId id, runtime::OnResult<runtime::TaskStarted> done) override {
        asked("start", std::move(id));
        answer(std::move(done), {.pid = 77, .exec_errno = 2});
    }
    void exec(runtime::TaskExec request, runtime::OnResult<void> done) override {
        asked("exec", request.id);
        execed = std::move(request);
        answer(std::move(done));
    }
    void state(runtime::ProcessId id, runtime::OnResult<runtime::TaskState> done) override {
        asked("state", std::move(id));
        answer(std::move(done), task);
    }
    void kill(runtime::ProcessId id, std::uint32_t number, bool to_all,
              runtime::OnResult<void> done) override {
        asked("kill", std::move(id));
        signal_number = number;
        flag = to_all;
        answer(std::move(done));
    }
    void wait(runtime::ProcessId id, runtime::OnResult<runtime::TaskExit> done) override {
        asked("wait", std::move(id));
        answer(std::move(done), exit);
    }
    void resize(runtime::ProcessId id, runtime::WindowSize size,
                runtime::OnResult<void> done) override {
        asked("resize", std::move(id));
        window = size;
        answer(std::move(done));
    }
    void close_stdin(runtime::ProcessId id, runtime::OnResult<void> done) override {
        asked("close_stdin", std::move(id));
        answer(std::move(done));
    }
    void remove(runtime::ProcessId id, runtime::OnResult<runtime::TaskExit> done) override {
        asked("remove", std::move(id));
        answer(std::move(done), exit);
    }
    void pids(std::string id, runtime::OnResult<std::vector<runtime::TaskProcess>> done) override {
        asked("pids", {.container = std::move(id), .exec = ""});
        answer(std::move(done), processes);
    }
    void pause(std::string id, runtime::OnResult<void> done) override {
        asked("pause", {.container = std::move(id), .exec = ""});
        answer(std::move(done));
    }
    void resume(std::string id, runtime::OnResult<void> done) override {
        asked("resume", {.container = std::move(id), .exec = ""});
        answer(std::move(done));
    }
    void update(std::string id, runtime::ResourcesSpec limits,
                runtime::OnResult<void> done) override {
        asked("update", {.container = std::move(id), .exec = ""});
        resources = std::move(limits);
        answer(std::move(done));
    }
    void stats(std::string id, runtime::OnResult<runtime::ContainerStats> done) override {
        asked("stats", {.container = std::move(id), .exec = ""});
        answer(std::move(done), used);
    }
    void connect(std::string id, runtime::OnResult<runtime::TaskConnection> done) override {
        asked("connect", {.container = std::move(id), .exec = ""});
        answer(std::move(done), {.shim_pid = 5, .pid = 77});
    }
    void shutdown(bool now, runtime::OnResult<bool> done) override {
        asked("shutdown", {});
        flag = now;
        answer(std::move(done), stays);
    }

    std::string method;
    runtime::ProcessId process_id;
    runtime::TaskCreate created;
    runtime::TaskExec execed;
    runtime::WindowSize window;
    std::uint32_t signal_number = 0;
    bool flag = false;  // what the method has of yes and no

    bool stays = false;
    runtime::TaskExit exit{.exit_status = 143};
    std::vector<runtime::TaskProcess> processes;
    runtime::ResourcesSpec resources;
    runtime::ContainerStats used;
    runtime::TaskState task;

private:
    void asked(const char* name, runtime::ProcessId id) {
        method = name;
        process_id = std::move(id);
    }
};

}  // namespace pepita::test
