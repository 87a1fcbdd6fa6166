#include "cri/streaming/fd_ends.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

Inlet::Inlet(EventLoop& loop, Fd source, Events events)
    : loop_(loop), source_(std::move(source)), events_(std::move(events)) {}

Result<std::unique_ptr<Inlet>> Inlet::create(EventLoop& loop, Fd source, Events events) {
    TRY(set_nonblocking(source.ref()));
    std::unique_ptr<Inlet> inlet(new Inlet(loop, std::move(source), std::move(events)));
    inlet->buffer_.resize(kChunkSize);
    inlet->watch_ = TRY(loop.watch(inlet->source_.ref(), EPOLLIN,
                                   [self = inlet.get()](std::uint32_t) { self->read_some(); }));
    return inlet;
}

void Inlet::resume() {
    if (is_paused_ && events_.has_room()) {
        is_paused_ = false;
        auto watch = loop_.watch(source_.ref(), EPOLLIN, [this](std::uint32_t) { read_some(); });
        if (!watch) {
            return end();
        }
        watch_ = *std::move(watch);
    }
}

bool Inlet::read_some() {
    if (!events_.has_room()) {
        // epoll reports a hang-up whatever the events: only without a watch is there quiet.
        is_paused_ = true;
        watch_.cancel();
        return false;
    }
    const ssize_t got = ::read(source_.ref().number(), buffer_.data(), buffer_.size());
    if (got > 0) {
        events_.on_bytes(std::as_bytes(std::span(buffer_).first(static_cast<std::size_t>(got))));
        return true;
    }
    if (got < 0 && errno == EINTR) {
        return true;
    }
    if (got == 0 || errno != EAGAIN) {
        end();
    }
    return false;
}

void Inlet::drain() {
    while (source_ && read_some()) {}
}

void Inlet::end() {
    watch_.cancel();
    source_ = Fd();
    events_.on_end();
}

Outlet::Outlet(EventLoop& loop, OnChange on_change)
    : loop_(loop), on_change_(std::move(on_change)) {}

Outlet::~Outlet() = default;

Result<void> Outlet::connect(Fd sink) {
    TRY(set_nonblocking(sink.ref()));
    sink_ = std::move(sink);
    is_connected_ = true;
    watch_ =
        TRY(loop_.watch(sink_.ref(), EPOLLOUT, [this](std::uint32_t events) { drain(events); }));
    return {};
}

void Outlet::write(std::span<const std::byte> bytes) {
    if (is_finished_ || (is_connected_ && !sink_)) {
        return;
    }
    // SAFETY: bytes of a socket are text to std::string.
    queue_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (watch_) {
        watch_.set_events(EPOLLOUT);
    }
}

void Outlet::finish() {
    is_finished_ = true;
    if (watch_) {
        watch_.set_events(EPOLLOUT);
    }
}

void Outlet::drain(std::uint32_t events) {
    while (begin_ < queue_.size()) {
        const ssize_t put =
            ::write(sink_.ref().number(), queue_.data() + begin_, queue_.size() - begin_);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0 && errno == EAGAIN) {
            if (begin_ > queue_.size() / 2) {
                queue_.erase(0, std::exchange(begin_, 0));
            }
            return on_change_();
        }
        if (put < 0) {
            close();
            return on_change_();
        }
        begin_ += static_cast<std::size_t>(put);
    }
    queue_.clear();
    begin_ = 0;
    if (is_finished_ || (events & (EPOLLERR | EPOLLHUP)) != 0) {
        close();
    } else {
        watch_.set_events(0);
    }
    on_change_();
}

void Outlet::close() {
    watch_.cancel();
    ::shutdown(sink_.ref().number(), SHUT_WR);  // a pipe has no such direction, and fails
    sink_ = Fd();
    queue_.clear();
    begin_ = 0;
}

}  // namespace pepita::cri
