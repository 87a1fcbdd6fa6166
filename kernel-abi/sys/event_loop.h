#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// One thread's wait: descriptors, deadlines, and work posted from other threads.
///
/// A callback may do anything to its loop: add and cancel watches and timers (its own included),
/// or stop it. Everything but post() and stop() belongs to the thread that runs the loop.
class EventLoop {
public:
    using Clock = std::chrono::steady_clock;
    using OnReady = std::move_only_function<void(std::uint32_t events)>;
    using Task = std::move_only_function<void()>;

    static Result<std::unique_ptr<EventLoop>> create();
    EventLoop(const EventLoop&) = delete;
    EventLoop& operator=(const EventLoop&) = delete;
    EventLoop(EventLoop&&) = delete;
    EventLoop& operator=(EventLoop&&) = delete;
    ~EventLoop();

    /// Watches end when this goes. It must not outlive its loop.
    class [[nodiscard]] Watch {
    public:
        Watch() = default;
        Watch(Watch&& other) noexcept
            : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}
        Watch& operator=(Watch&& other) noexcept {
            std::swap(loop_, other.loop_);
            std::swap(id_, other.id_);
            return *this;
        }
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        ~Watch() { cancel(); }

        explicit operator bool() const { return loop_ != nullptr; }
        /// Waits for other events from now on; 0 waits only for errors and hang-ups.
        void set_events(std::uint32_t events);
        void cancel();

    private:
        friend class EventLoop;
        Watch(EventLoop* loop, std::uint64_t id) : loop_(loop), id_(id) {}
        EventLoop* loop_ = nullptr;
        std::uint64_t id_ = 0;
    };

    /// A deadline; it is given up when this goes.
    class [[nodiscard]] Timer {
    public:
        Timer() = default;
        Timer(Timer&& other) noexcept
            : loop_(std::exchange(other.loop_, nullptr)), key_(std::move(other.key_)) {}
        Timer& operator=(Timer&& other) noexcept {
            std::swap(loop_, other.loop_);
            std::swap(key_, other.key_);
            return *this;
        }
        Timer(const Timer&) = delete;
        Timer& operator=(const Timer&) = delete;
        ~Timer() { cancel(); }
        void cancel();

    private:
        friend class EventLoop;
        using Key = std::pair<Clock::time_point, std::uint64_t>;
        Timer(EventLoop* loop, Key key) : loop_(loop), key_(key) {}
        EventLoop* loop_ = nullptr;
        Key key_;
    };

    /// Calls `on_ready` with EPOLL* events, level-triggered, while `fd` has any of `events`.
    /// `fd` is borrowed until the watch ends; end the watch before closing it.
    /// Errors: epoll_ctl(2)'s; EPERM for a regular file, which is always ready.
    Result<Watch> watch(FdRef fd, std::uint32_t events, OnReady on_ready);

    /// Calls `task` once, `delay` from now.
    Timer after(Clock::duration delay, Task task);

    /// Calls `task` on the loop's thread, in the order of posting. Thread: any.
    void post(Task task);

    /// Runs until stop(). Returns at once if stop() came before. Errors: epoll_wait(2)'s.
    Result<void> run();

    /// Ends run() after the callback in progress. Thread: any.
    void stop();

    /// For a thread that waits elsewhere, in an IoRing say: readable (EPOLLIN) while run_once()
    /// would find a descriptor ready or work posted.
    FdRef fd() const { return epoll_.ref(); }
    /// How long from now the next deadline is; 0 where it has passed, nothing where there is none.
    std::optional<Clock::duration> until_deadline() const;

    /// One round: waits at most until the next deadline or `limit`, then calls what is due.
    Result<void> run_once(Clock::duration limit);

private:
    struct Watched {
        int fd;
        OnReady on_ready;
    };
    struct Posted;

    EventLoop(Fd epoll, Fd wake);
    void drain_posted();
    void fire_timers();
    int timeout_ms(Clock::duration limit) const;

    Fd epoll_;
    Fd wake_;
    std::uint64_t next_id_ = 1;
    std::unordered_map<std::uint64_t, std::shared_ptr<Watched>> watched_;
    std::map<Timer::Key, Task> timers_;
    std::unique_ptr<Posted> posted_;
};

}  // namespace pepita
