#include "cri/pod_shim.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/channel.h"
#include "runtime/task_api.h"

namespace pepita::cri {
namespace {

std::vector<std::string> shim_environment() {
    return {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
}

}  // namespace

Reaper::~Reaper() {
    for (Entry& entry : entries_) {
        entry.child.release();
    }
}

Result<void> Reaper::add(Child child) {
    const auto entry = entries_.insert(entries_.end(), {.child = std::move(child), .watch = {}});
    Result<EventLoop::Watch> watch =
        loop_.watch(entry->child.pidfd(), EPOLLIN, [this, entry](std::uint32_t) {
            entry->watch.cancel();
            (void)entry->child.reap();
            entries_.erase(entry);
        });
    if (!watch) {
        entries_.erase(entry);  // and the child is killed
        return std::move(watch).error();
    }
    entry->watch = *std::move(watch);
    return {};
}

PodShim::PodShim(std::shared_ptr<runtime::Channel> channel)
    : channel_(std::move(channel)), tasks_(channel_), sandbox_(channel_), pod_(channel_) {}

PodShim::~PodShim() { channel_->close(); }

Result<std::unique_ptr<PodShim>> PodShim::over(EventLoop& loop, Fd socket, OnClosed on_closed) {
    auto channel = TRY(runtime::Channel::create(
        loop, std::move(socket), {.on_call = {}, .on_closed = std::move(on_closed)}));
    return std::unique_ptr<PodShim>(new PodShim(std::move(channel)));
}

Result<std::unique_ptr<PodShim>> PodShim::start(EventLoop& loop, const std::string& program,
                                                Reaper& reaper, OnClosed on_closed) {
    auto [ours, theirs] = TRY(socket_pair());
    TRY(reaper.add(
        TRY(start_program({.path = program,
                           .arguments = {"pepita-shim"},
                           .environment = shim_environment(),
                           .fds = {{.fd = FdRef(STDERR_FILENO), .number = STDERR_FILENO},
                                   {.fd = theirs.ref(), .number = runtime::kShimSocketNumber}},
                           .has_session = true}))));
    return over(loop, std::move(ours), std::move(on_closed));
}

Result<std::unique_ptr<PodShim>> PodShim::connect(EventLoop& loop, const std::string& socket,
                                                  OnClosed on_closed) {
    return over(loop, TRY(connect_unix(socket)), std::move(on_closed));
}

}  // namespace pepita::cri
