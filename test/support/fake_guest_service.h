#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "test/support/answering.h"

namespace pepita::test {

/// Notes what it was asked, and answers with what it was told to: always `error` where there is
/// one.
class FakeGuestService : public runtime::GuestService, public Answering<Code::FailedPrecondition> {
public:
    void describe(runtime::OnResult<runtime::GuestDescription> done) override {
        asked("describe", {});
        answer(std::move(done), {.version = "1.2.3", .kernel_release = "6.12-test"});
    }
    void create(runtime::ContainerSpec spec,
                runtime::OnResult<runtime::StreamNumbers> done) override {
        asked("create", {});
        container = std::move(spec);
        answer(std::move(done), numbers);
    }
    void start(runtime::ProcessId id, runtime::OnResult<runtime::Started> done) override {
        asked("start", std::move(id));
        answer(std::move(done), {.pid = 77, .exec_errno = 13});
    }
    void exec(runtime::ProcessId id, runtime::ProcessSpec spec,
              runtime::OnResult<runtime::StreamNumbers> done) override {
        asked("exec", std::move(id));
        process = std::move(spec);
        answer(std::move(done), numbers);
    }
    void signal(runtime::ProcessId id, std::uint32_t number, bool to_all,
                runtime::OnResult<void> done) override {
        asked("signal", std::move(id));
        signal_number = number;
        all = to_all;
        answer(std::move(done));
    }
    void wait(runtime::ProcessId id, runtime::OnResult<std::uint32_t> done) override {
        asked("wait", std::move(id));
        answer(std::move(done), 137U);
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
    void remove(runtime::ProcessId id, runtime::OnResult<void> done) override {
        asked("remove", std::move(id));
        answer(std::move(done));
    }
    void shutdown(runtime::OnResult<void> done) override {
        asked("shutdown", {});
        answer(std::move(done));
    }

    void rescan(runtime::OnResult<void> done) override {
        asked("rescan", {});
        answer(std::move(done));
    }
    void release(runtime::DiskId device, runtime::OnResult<void> done) override {
        asked("release", {});
        disk = std::move(device);
        answer(std::move(done));
    }
    void user(std::string id, runtime::OnResult<runtime::UserIds> done) override {
        asked("user", {.container = std::move(id), .exec = ""});
        answer(std::move(done), {.uid = 1000, .gid = 100, .groups = {100, 50'000}});
    }
    void stats(std::string id, runtime::OnResult<runtime::ContainerStats> done) override {
        asked("stats", {.container = std::move(id), .exec = ""});
        answer(std::move(done), used);
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
    void configure_network(runtime::NetworkConfig config, runtime::OnResult<void> done) override {
        asked("configure_network", {});
        network = std::move(config);
        answer(std::move(done));
    }
    void adjust_clock(std::chrono::nanoseconds offset,
                      runtime::OnResult<std::chrono::nanoseconds> done) override {
        clock += offset;
        answer(std::move(done), clock);
    }
    void dial(std::uint16_t number, runtime::OnResult<std::uint64_t> done) override {
        asked("dial", {});
        port = number;
        answer(std::move(done), numbers.out);
    }

    std::string method;
    runtime::ProcessId process_id;
    runtime::ContainerSpec container;
    runtime::ProcessSpec process;
    runtime::WindowSize window;
    std::uint32_t signal_number = 0;
    bool all = false;
    runtime::DiskId disk;
    runtime::ContainerStats used;
    runtime::ResourcesSpec resources;
    runtime::NetworkConfig network;
    std::chrono::nanoseconds clock{1'000};
    std::uint16_t port = 0;

    runtime::StreamNumbers numbers{.in = 1, .out = 0xffff'ffff'ffff'ffff, .err = 3};

private:
    void asked(const char* name, runtime::ProcessId id) {
        method = name;
        process_id = std::move(id);
    }
};

}  // namespace pepita::test
