#include "kernel-abi/sys/pump.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

// So that one busy stream does not keep the loop from the others.
constexpr int kRoundsPerTurn = 16;

// epoll_ctl(2) refuses a regular file, which never blocks: no watch then.
Result<std::optional<EventLoop::Watch>> watch_unless_file(EventLoop& loop, FdRef fd,
                                                          EventLoop::OnReady on_ready) {
    auto watch = loop.watch(fd, 0, std::move(on_ready));
    if (!watch && watch.error().sys_errno() == EPERM) {
        return std::optional<EventLoop::Watch>();
    }
    return std::optional<EventLoop::Watch>(TRY(std::move(watch)));
}

bool is_socket(FdRef fd) {
    struct stat about{};
    return ::fstat(fd.number(), &about) == 0 && S_ISSOCK(about.st_mode);
}

}  // namespace

Pump::Pump(EventLoop& loop, FdRef source, FdRef sink, OnEnd on_end)
    : loop_(loop),
      source_(source),
      sink_(sink),
      source_is_socket_(is_socket(source)),
      sink_is_socket_(is_socket(sink)),
      on_end_(std::move(on_end)) {}

Pump::~Pump() = default;

Result<std::unique_ptr<Pump>> Pump::create(EventLoop& loop, FdRef source, FdRef sink,
                                           OnEnd on_end) {
    std::unique_ptr<Pump> pump(new Pump(loop, source, sink, std::move(on_end)));
    Pump* self = pump.get();
    pump->source_watch_ = TRY(
        watch_unless_file(loop, source, [self](std::uint32_t) { self->advance(); }), "pump source");
    pump->sink_watch_ =
        TRY(watch_unless_file(loop, sink, [self](std::uint32_t events) { self->on_sink(events); }),
            "pump sink");
    pump->wait_for_next();
    return pump;
}

void Pump::finish() {
    is_last_ = true;
    advance();
}

Pump::Progress Pump::fill() {
    // A socket is asked not to wait; other descriptors have to be non-blocking by themselves.
    const ssize_t got = source_is_socket_
                            ? ::recv(source_.number(), buffer_.data(), buffer_.size(), MSG_DONTWAIT)
                            : ::read(source_.number(), buffer_.data(), buffer_.size());
    if (got > 0) {
        begin_ = 0;
        end_ = static_cast<std::size_t>(got);
        return Progress::Moved;
    }
    if (got < 0 && errno == EINTR) {
        return Progress::Moved;
    }
    if (got < 0 && errno == EAGAIN && !is_last_) {
        return Progress::Blocked;
    }
    const bool is_end = got == 0 || errno == EAGAIN || errno == EIO;
    source_ended_ = true;
    end(is_end ? End::Source : End::Failed);
    return Progress::Ended;
}

Pump::Progress Pump::drain() {
    const std::byte* bytes = buffer_.data() + begin_;
    const ssize_t sent =
        sink_is_socket_ ? ::send(sink_.number(), bytes, end_ - begin_, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : ::write(sink_.number(), bytes, end_ - begin_);
    if (sent >= 0) {
        begin_ += static_cast<std::size_t>(sent);
        return Progress::Moved;
    }
    if (errno == EINTR) {
        return Progress::Moved;
    }
    if (errno == EAGAIN) {
        return Progress::Blocked;
    }
    end(errno == EPIPE || errno == ECONNRESET ? End::Sink : End::Failed);
    return Progress::Ended;
}

void Pump::advance() {
    for (int round = 0; round < kRoundsPerTurn; ++round) {
        switch (begin_ == end_ ? fill() : drain()) {
            case Progress::Moved:
                continue;
            case Progress::Blocked:
                return wait_for_next();
            case Progress::Ended:
                return;  // *this may be gone
        }
    }
    wait_for_next();
}

void Pump::on_sink(std::uint32_t events) {
    if (begin_ != end_) {
        return advance();
    }
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        end(End::Sink);  // nobody will read what the source may still give
    }
}

void Pump::wait_for_next() {
    const bool is_empty = begin_ == end_;
    std::optional<EventLoop::Watch>& wanted = is_empty ? source_watch_ : sink_watch_;
    // Errors and hang-ups are reported whatever is asked for. A sink's ends the pump at once; a
    // source's must wait until the buffer is written, so it is told as an edge, not as a level.
    if (sink_watch_) {
        sink_watch_->set_events(is_empty ? 0U : static_cast<std::uint32_t>(EPOLLOUT));
    }
    if (source_watch_) {
        source_watch_->set_events(is_empty ? static_cast<std::uint32_t>(EPOLLIN)
                                           : static_cast<std::uint32_t>(EPOLLET));
    }
    if (!wanted) {
        again_ = loop_.after(std::chrono::seconds(0), [this] { advance(); });
    }
}

void Pump::end(End how) {
    source_watch_.reset();
    sink_watch_.reset();
    again_.cancel();
    if (OnEnd done = std::exchange(on_end_, nullptr)) {
        done(how);
    }
}

}  // namespace pepita
