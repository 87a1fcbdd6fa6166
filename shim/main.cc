#include <signal.h>
#include <stdlib.h>  // getenv

#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/pod_api.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/log_json.h"
#include "runtime/sandbox_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/clock.h"
#include "shim/microvm.h"
#include "shim/pod.h"

namespace {

using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Result;
using pepita::runtime::Channel;
using pepita::runtime::EventPublisher;
using pepita::runtime::LogFormat;
using pepita::runtime::PodService;
using pepita::runtime::PodSpec;
using pepita::runtime::SandboxService;
using pepita::runtime::TaskEvent;
using pepita::runtime::TaskService;

// The shim inherits a connected socket, its first client, as kShimSocketNumber, and its log as
// standard error. All else it learns from that client's first Create or CreateSandbox; but where
// containerd wants to be told of events, which TTRPC_ADDRESS and NAMESPACE say.

std::string environment(const char* name) {
    const char* value = ::getenv(name);
    return value == nullptr ? "" : value;
}

/// The clients of one pod: the one that started the shim, and those that come to its socket.
class Server {
public:
    explicit Server(EventLoop& loop)
        : loop_(loop),
          clock_(loop),
          publisher_(loop, {.address = environment("TTRPC_ADDRESS"),
                            .name_space = environment("NAMESPACE")}),
          pod_(loop, clock_, pepita::shim::start_microvm,
               {.on_begin =
                    [](const PodSpec& spec) {
                        if (spec.log_format == LogFormat::Json) {
                            pepita::log::use(pepita::runtime::log_json);
                        }
                    },
                .on_client = [this](Fd client) { on_client(std::move(client)); },
                .on_over = [this] { stop_if_idle(); },
                .on_event = [this](const TaskEvent& event) { publisher_.publish(event); }}) {}

    Result<void> add(Fd socket) {
        const auto place = clients_.emplace(clients_.end());
        *place = TRY(Channel::create(
            loop_, std::move(socket),
            {.on_call =
                 [this](Channel::Call call) {
                     if (pepita::runtime::is_sandbox_call(call)) {
                         return dispatch(static_cast<SandboxService&>(pod_), std::move(call));
                     }
                     if (pepita::runtime::is_pod_call(call)) {
                         return dispatch(static_cast<PodService&>(pod_), std::move(call));
                     }
                     dispatch(static_cast<TaskService&>(pod_), std::move(call));
                 },
             .on_closed =
                 [this, place](const Error&) {
                     clients_.erase(place);
                     stop_if_idle();
                 }}));
        return {};
    }

private:
    void stop_if_idle() {
        if (!((clients_.empty() && pod_.is_over()) || pod_.is_useless())) {
            return;
        }
        if (publisher_.is_idle()) {
            return loop_.stop();
        }
        // What is not told in time is dropped.
        untold_ = loop_.after(std::chrono::milliseconds(100), [this] { stop_if_idle(); });
    }

    void on_client(Fd client) {
        if (const Result<void> added = add(std::move(client)); !added) {
            pepita::log::warn("a client was turned away", {{"error", added.error().message()}});
        }
    }

    EventLoop& loop_;
    pepita::shim::LoopClock clock_;
    std::list<std::shared_ptr<Channel>> clients_;
    EventPublisher publisher_;
    EventLoop::Timer untold_;
    pepita::shim::Pod pod_;
};

Result<void> run() {
    pepita::reset_signals();
    pepita::reset_limits();
    (void)::signal(SIGPIPE, SIG_IGN);
    (void)::signal(SIGXFSZ, SIG_IGN);
    const auto loop = TRY(EventLoop::create());
    Server server(*loop);
    Fd first(pepita::runtime::kShimSocketNumber);
    TRY(pepita::set_nonblocking(first.ref()));
    TRY(server.add(std::move(first)), "channel");
    return loop->run();
}

}  // namespace

int main() {
    const Result<void> ran = run();
    if (!ran) {
        pepita::log::error("pepita-shim gave up", {{"error", ran.error().message()}});
        return 1;
    }
    return 0;
}
