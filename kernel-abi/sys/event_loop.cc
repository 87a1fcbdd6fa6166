#include "kernel-abi/sys/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

constexpr std::uint64_t kWakeId = 0;
constexpr int kEventsPerRound = 64;

}  // namespace

struct EventLoop::Posted {
    std::mutex mutex;
    std::vector<Task> tasks;  // guarded by mutex
    std::atomic<bool> stopping{false};
};

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
    Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) {
        return Error::from_errno(errno, "epoll_create1");
    }
    Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake) {
        return Error::from_errno(errno, "eventfd");
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kWakeId;
    if (::epoll_ctl(epoll.ref().number(), EPOLL_CTL_ADD, wake.ref().number(), &event) != 0) {
        return Error::from_errno(errno, "epoll_ctl");
    }
    return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wake)));
}

EventLoop::EventLoop(Fd epoll, Fd wake)
    : epoll_(std::move(epoll)), wake_(std::move(wake)), posted_(std::make_unique<Posted>()) {}

EventLoop::~EventLoop() = default;

Result<EventLoop::Watch> EventLoop::watch(FdRef fd, std::uint32_t events, OnReady on_ready) {
    const std::uint64_t id = next_id_++;
    epoll_event event{};
    event.events = events;
    event.data.u64 = id;
    if (::epoll_ctl(epoll_.ref().number(), EPOLL_CTL_ADD, fd.number(), &event) != 0) {
        return Error::from_errno(errno, "epoll_ctl");
    }
    watched_.emplace(
        id, std::make_shared<Watched>(Watched{.fd = fd.number(), .on_ready = std::move(on_ready)}));
    return Watch(this, id);
}

void EventLoop::Watch::set_events(std::uint32_t events) {
    CHECK(loop_ != nullptr);
    epoll_event event{};
    event.events = events;
    event.data.u64 = id_;
    const int fd = loop_->watched_.at(id_)->fd;
    CHECK(::epoll_ctl(loop_->epoll_.ref().number(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void EventLoop::Watch::cancel() {
    if (loop_ == nullptr) {
        return;
    }
    EventLoop& loop = *std::exchange(loop_, nullptr);
    const auto found = loop.watched_.find(id_);
    CHECK(found != loop.watched_.end());
    (void)::epoll_ctl(loop.epoll_.ref().number(), EPOLL_CTL_DEL, found->second->fd, nullptr);
    loop.watched_.erase(found);
}

EventLoop::Timer EventLoop::after(Clock::duration delay, Task task) {
    const Timer::Key key{Clock::now() + delay, next_id_++};
    timers_.emplace(key, std::move(task));
    return {this, key};
}

void EventLoop::Timer::cancel() {
    if (loop_ != nullptr) {
        std::exchange(loop_, nullptr)->timers_.erase(key_);
    }
}

void EventLoop::post(Task task) {
    {
        const std::scoped_lock lock(posted_->mutex);
        posted_->tasks.push_back(std::move(task));
    }
    const std::uint64_t one = 1;
    // The counter saturating (EAGAIN) still leaves it readable, which is all a wake-up needs.
    (void)!::write(wake_.ref().number(), &one, sizeof(one));
}

void EventLoop::stop() {
    posted_->stopping.store(true, std::memory_order_release);  // pairs with acquire in run()
    post([] {});
}

void EventLoop::drain_posted() {
    std::uint64_t count = 0;
    (void)!::read(wake_.ref().number(), &count, sizeof(count));
    std::vector<Task> tasks;
    {
        const std::scoped_lock lock(posted_->mutex);
        tasks.swap(posted_->tasks);
    }
    for (Task& task : tasks) {
        task();
    }
}

void EventLoop::fire_timers() {
    const Clock::time_point now = Clock::now();
    while (!timers_.empty() && timers_.begin()->first.first <= now) {
        auto node = timers_.extract(timers_.begin());
        node.mapped()();
    }
}

std::optional<EventLoop::Clock::duration> EventLoop::until_deadline() const {
    if (timers_.empty()) {
        return std::nullopt;
    }
    return std::max(timers_.begin()->first.first - Clock::now(), Clock::duration::zero());
}

int EventLoop::timeout_ms(Clock::duration limit) const {
    const Clock::duration wait = std::min(limit, until_deadline().value_or(limit));
    // Rounded up, or the last fraction of a millisecond before a deadline would be spent spinning.
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
    return static_cast<int>(std::clamp<std::int64_t>(ms, 0, std::numeric_limits<int>::max()));
}

Result<void> EventLoop::run_once(Clock::duration limit) {
    std::array<epoll_event, kEventsPerRound> events{};
    const int count =
        ::epoll_wait(epoll_.ref().number(), events.data(), kEventsPerRound, timeout_ms(limit));
    if (count < 0 && errno != EINTR) {
        return Error::from_errno(errno, "epoll_wait");
    }
    for (const epoll_event& event :
         std::span(events).first(static_cast<std::size_t>(std::max(count, 0)))) {
        const std::uint64_t id = event.data.u64;  // a copy: epoll_event is packed, no reference
        if (id == kWakeId) {
            drain_posted();
            continue;
        }
        // An earlier callback of this round may have ended the watch.
        const auto found = watched_.find(id);
        if (found != watched_.end()) {
            // Shared, because the callback may end its own watch and still has to return.
            const std::shared_ptr<Watched> watched = found->second;
            watched->on_ready(event.events);
        }
    }
    fire_timers();
    return {};
}

Result<void> EventLoop::run() {
    while (!posted_->stopping.load(std::memory_order_acquire)) {  // pairs with release in stop()
        TRY(run_once(std::chrono::hours(1)));
    }
    return {};
}

}  // namespace pepita
