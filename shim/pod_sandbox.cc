#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/on_result.h"
#include "runtime/sandbox_api.h"
#include "runtime/task_api.h"
#include "shim/container.h"
#include "shim/isolation.h"
#include "shim/pod.h"

// What the sandbox API asks of a pod. The pod's life is in pod.cc.

namespace pepita::shim {
namespace {

using runtime::ContainerStats;
using runtime::OnResult;

Error copy_of(const Error& error) { return {error.code(), error.message()}; }

}  // namespace

void Pod::create_sandbox(runtime::PodSpec spec, OnResult<void> done) {
    if (phase_ != Phase::Empty) {
        return done(Error(Code::AlreadyExists, "this shim has a pod already"));
    }
    created_at_ns_ = now_ns();
    begin(std::move(spec), [this](Result<void> begun) {
        sandbox_begun_.emplace(std::move(begun));
        answer_sandbox_start();
    });
    // Only a pod that cannot begin is known by now.
    if (sandbox_begun_ && !*sandbox_begun_) {
        return done(copy_of(sandbox_begun_->error()));
    }
    done({});
}

void Pod::start_sandbox(OnResult<runtime::SandboxStarted> done) {
    if (created_at_ns_ == 0) {
        return done(Error(Code::FailedPrecondition, "there is no pod"));
    }
    on_sandbox_started_.push_back(std::move(done));
    answer_sandbox_start();
}

void Pod::answer_sandbox_start() {
    if (!sandbox_begun_) {
        return;
    }
    for (auto& done : std::exchange(on_sandbox_started_, {})) {
        if (*sandbox_begun_) {
            done(runtime::SandboxStarted{.pid = static_cast<std::uint32_t>(::getpid()),
                                         .created_at_ns = created_at_ns_});
        } else {
            done(copy_of(sandbox_begun_->error()));
        }
    }
}

void Pod::stop_sandbox(std::chrono::seconds patience, OnResult<void> done) {
    const bool runs = phase_ == Phase::Booting || phase_ == Phase::Live;
    if (!runs && phase_ != Phase::Stopping && phase_ != Phase::Ending) {
        return done({});
    }
    on_sandbox_down_.push_back(
        [done = std::move(done)](const Result<runtime::TaskExit>&) mutable { done({}); });
    if (runs) {
        phase_ = Phase::Stopping;
        shut_down(patience.count() == 0 ? kPowerOffDeadline : patience);
    }
}

void Pod::wait_sandbox(OnResult<runtime::TaskExit> done) {
    on_sandbox_down_.push_back(std::move(done));
    answer_sandbox_waiters();
}

void Pod::answer_sandbox_waiters() {
    if (phase_ != Phase::Down && phase_ != Phase::Ended) {
        return;
    }
    constexpr std::uint32_t lost = 255;
    for (auto& done : std::exchange(on_sandbox_down_, {})) {
        done(runtime::TaskExit{
            .exit_status = was_stopped_ ? 0 : lost, .exited_at_ns = exited_at_ns_, .pid = 0});
    }
}

void Pod::sandbox_status(OnResult<runtime::SandboxStatus> done) {
    done(
        runtime::SandboxStatus{.pid = static_cast<std::uint32_t>(::getpid()),
                               .is_ready = phase_ == Phase::Live,
                               .created_at_ns = created_at_ns_,
                               .exited_at_ns = exited_at_ns_,
                               .info = {{"isolation", std::string(to_string(isolation_.isolation))},
                                        {"isolationReason", isolation_.reason}}});
}

void Pod::shutdown_sandbox(OnResult<void> done) {
    shutdown(true, [done = std::move(done)](const Result<bool>&) mutable { done({}); });
}

void Pod::sandbox_stats(OnResult<ContainerStats> done) {
    if (phase_ != Phase::Live) {
        return done(Error(Code::FailedPrecondition, "the pod's guest is not up"));
    }
    microvm_->guest().stats("", std::move(done));
}

}  // namespace pepita::shim
