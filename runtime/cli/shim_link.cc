#include "runtime/cli/shim_link.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/channel.h"

namespace pepita::runtime::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::hours kForever{1};  // of one round; the loop has no other

}  // namespace

ShimLink::ShimLink(EventLoop& loop, std::shared_ptr<Channel> channel,
                   std::shared_ptr<bool> is_closed)
    : loop_(loop),
      channel_(std::move(channel)),
      client_(channel_),
      is_closed_(std::move(is_closed)) {}

Result<std::unique_ptr<ShimLink>> ShimLink::create(EventLoop& loop, Fd socket) {
    auto is_closed = std::make_shared<bool>(false);
    Channel::Handlers handlers;
    handlers.on_closed = [is_closed](const Error& /*why*/) { *is_closed = true; };
    auto channel = TRY(Channel::create(loop, std::move(socket), std::move(handlers)));
    return std::unique_ptr<ShimLink>(new ShimLink(loop, std::move(channel), std::move(is_closed)));
}

Result<void> ShimLink::run_until(std::move_only_function<bool()> is_done, Deadline deadline) {
    const auto end = steady_clock::now() + deadline.value_or(kForever);
    while (!is_done()) {
        if (interrupted_) {
            Error cancelled(Code::Cancelled, *std::move(interrupted_));
            interrupted_.reset();
            return cancelled;
        }
        const auto now = steady_clock::now();
        if (deadline && now >= end) {
            return Error(Code::DeadlineExceeded, "the shim does not answer");
        }
        TRY(loop_.run_once(deadline ? end - now : kForever));
    }
    return {};
}

bool ShimLink::wait_closed(std::chrono::milliseconds limit) {
    return run_until([this] { return is_closed(); }, limit).has_value();
}

}  // namespace pepita::runtime::cli
