#include "runtime/container/freezer.h"

#include <sys/epoll.h>

#include <chrono>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/cgroup.h"
#include "runtime/container/conversation.h"

namespace pepita::runtime::container {
namespace {

constexpr std::chrono::seconds kDeadline{10};

}  // namespace

void Freezer::set(bool frozen, OnDone<void> done) {
    if (done_) {
        return done(Error(Code::FailedPrecondition, "it is being paused or resumed"));
    }
    if (Result<void> begun = begin(frozen); !begun) {
        return done(std::move(begun));
    }
    done_ = std::move(done);
    deadline_ = loop_.after(kDeadline, [this] {
        (void)cgroup_.set_frozen(false).has_value();
        finish(Error(Code::DeadlineExceeded, "a process of the container does not stop"));
    });
    on_change();
}

Result<void> Freezer::begin(bool frozen) {
    wanted_ = frozen;
    events_ = TRY(cgroup_.open_events());
    watch_ = TRY(loop_.watch(events_.ref(), EPOLLPRI, [this](std::uint32_t) { on_change(); }));
    return cgroup_.set_frozen(frozen);
}

void Freezer::on_change() {
    if (Cgroup::is_frozen(events_.ref()) == wanted_) {
        finish({});
    }
}

void Freezer::finish(Result<void> result) {
    watch_.cancel();
    deadline_.cancel();
    OnDone<void> done = std::exchange(done_, nullptr);
    done(std::move(result));  // which may destroy this
}

}  // namespace pepita::runtime::container
