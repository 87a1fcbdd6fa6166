#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/pod_api.h"
#include "runtime/rpc/on_result.h"
#include "test/support/answering.h"

namespace pepita::test {

/// Notes what it was asked, and answers with what it was told to.
class FakePodService : public runtime::PodService, public Answering<Code::FailedPrecondition> {
public:
    void reopen_log(std::string id, runtime::OnResult<void> done) override {
        container = std::move(id);
        answer(std::move(done));
    }
    void attach(runtime::AttachRequest request, runtime::OnResult<void> done) override {
        attached = std::move(request);
        answer(std::move(done));
    }
    void user(std::string id, runtime::OnResult<runtime::UserIds> done) override {
        container = std::move(id);
        answer(std::move(done), {.uid = 1000, .gid = 100, .groups = {100, 50'000}});
    }
    void connect_port(std::uint16_t number, Fd fd, runtime::OnResult<void> done) override {
        port = number;
        socket = std::move(fd);
        answer(std::move(done));
    }

    std::string container;
    runtime::AttachRequest attached;
    std::uint16_t port = 0;
    Fd socket;
};

}  // namespace pepita::test
