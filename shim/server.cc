#include "shim/server.h"

#include <signal.h>

#include <chrono>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_api.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/log_json.h"
#include "runtime/sandbox_api.h"
#include "runtime/task_api.h"
#include "runtime/task_events.h"
#include "shim/microvm.h"
#include "shim/pod.h"

namespace pepita::shim {

Server::Server(EventLoop& loop, Options options)
    : loop_(loop),
      options_(std::move(options)),
      clock_(loop),
      publisher_(loop, options_.events),
      pod_(loop, clock_, start_microvm,
           {.on_begin =
                [](const runtime::PodSpec& spec) {
                    log::add_to_all({"pod", spec.name});
                    if (spec.log_format == runtime::LogFormat::Json) {
                        log::use(runtime::log_json);
                    }
                },
            .on_client = [this](Fd client) { on_client(std::move(client)); },
            .on_over = [this] { stop_if_idle(); },
            .on_event =
                [this](const runtime::TaskEvent& event) {
                    publisher_.publish(event);
                    if (options_.watch) {
                        options_.watch(event);
                    }
                },
            .on_create = std::move(options_.on_create),
            .on_boot = std::move(options_.on_boot)}) {}

Result<void> Server::add(Fd socket) {
    const auto place = clients_.emplace(clients_.end());
    auto channel = runtime::Channel::create(
        loop_, std::move(socket),
        {.on_call = [this](runtime::Channel::Call call) { dispatch(std::move(call)); },
         .on_closed =
             [this, place](const Error&) {
                 clients_.erase(place);
                 stop_if_idle();
             }});
    if (!channel) {
        clients_.erase(place);
        return std::move(channel).error();
    }
    *place = *std::move(channel);
    return {};
}

void Server::on_client(Fd client) {
    if (const Result<void> added = add(std::move(client)); !added) {
        log::warn("a client was turned away", {{"error", added.error().message()}});
    }
}

void Server::dispatch(runtime::Channel::Call call) {
    if (runtime::is_sandbox_call(call)) {
        return runtime::dispatch(static_cast<runtime::SandboxService&>(pod_), std::move(call));
    }
    if (runtime::is_pod_call(call)) {
        return runtime::dispatch(static_cast<runtime::PodService&>(pod_), std::move(call));
    }
    runtime::dispatch(static_cast<runtime::TaskService&>(pod_), std::move(call));
}

void Server::stop_if_idle() {
    if (!((clients_.empty() && pod_.is_over()) || pod_.is_useless())) {
        return;
    }
    if (publisher_.is_idle()) {
        return loop_.stop();
    }
    // What is not told in time is dropped.
    untold_ = loop_.after(std::chrono::milliseconds(100), [this] { stop_if_idle(); });
}

void prepare_process() {
    reset_signals();
    reset_limits();
    (void)::signal(SIGPIPE, SIG_IGN);
    (void)::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace pepita::shim
