#include "runtime/guest/errand.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/control.h"
#include "runtime/container/streams.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::guest {
namespace {

using container::ControlMessage;
using Kind = ControlMessage::Kind;

[[noreturn]] void work_in_child(Errands::Work work, FdRef control) {
    container::close_all_but({control});
    const Result<void> result = work();
    (void)send_control(
        control, result ? ControlMessage{.kind = Kind::Ready} : container::failed(result.error()))
        .has_value();
    ::_exit(0);
}

Result<void> result_of(FdRef control) {
    const ControlMessage message = TRY(container::receive_control(control));
    if (message.kind == Kind::Failed) {
        return container::error_of(message);
    }
    if (message.kind != Kind::Ready) {
        return Error(Code::Internal, "the process that did it was killed");
    }
    return {};
}

}  // namespace

void Errands::run(Work work, std::chrono::seconds limit, OnResult<void> done) {
    auto control = container::control_pair();
    if (!control) {
        return done(std::move(control).error());
    }
    const pid_t pid = ::fork();
    if (pid < 0) {
        return done(Error::from_errno(errno, "fork"));
    }
    if (pid == 0) {
        work_in_child(std::move(work), control->child.ref());
    }
    const Place place = errands_.emplace(errands_.end());
    place->pid = pid;
    place->control = std::move(control->parent);
    place->done = std::move(done);
    auto watch = loop_.watch(place->control.ref(), EPOLLIN, [this, place](std::uint32_t) {
        finish(place, result_of(place->control.ref()));
    });
    if (!watch) {
        return finish(place, std::move(watch).error());
    }
    place->watch = *std::move(watch);
    place->deadline = loop_.after(limit, [this, place] {
        // Not reaped: its end would have been seen before.
        (void)::kill(place->pid, SIGKILL);
        finish(place, Error(Code::DeadlineExceeded, "it takes too long"));
    });
}

void Errands::finish(Place place, Result<void> result) {
    OnResult<void> done = std::move(place->done);
    errands_.erase(place);
    done(std::move(result));
}

}  // namespace pepita::runtime::guest
