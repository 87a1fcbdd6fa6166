#include "cri/streaming/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "cri/streaming/framing.h"
#include "cri/streaming/http_server.h"
#include "cri/streaming/session.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

Connection::Connection(EventLoop& loop, Options options, OnDone on_done)
    : loop_(loop), options_(options), on_done_(std::move(on_done)) {}

Connection::~Connection() {
    stage_ = Stage::Done;
    session_.reset();  // it may still use us
    watch_.cancel();
}

Result<void> Connection::start(UpgradedSocket socket, std::string_view early,
                               std::unique_ptr<Framing> framing, MakeSession make_session) {
    socket_ = std::make_unique<UpgradedSocket>(std::move(socket));
    framing_ = std::move(framing);
    session_ = make_session(*this);
    watch_ = TRY(loop_.watch(socket_->fd(), 0, [this](std::uint32_t events) { on_ready(events); }));
    watch_idleness();
    framing_->start(*session_);
    feed(as_wire_bytes(early));
    return {};
}

std::size_t Connection::queued() const { return framing_->output().size() - sent_; }

void Connection::accept(StreamId id) {
    framing_->accept(id);
    update();
}

void Connection::send(StreamId id, std::span<const std::byte> bytes) {
    if (stage_ == Stage::Open) {
        framing_->send(id, bytes);
        last_use_ = EventLoop::Clock::now();
        update();
    }
}

void Connection::finish(StreamId id) {
    framing_->finish(id);
    update();
}

void Connection::reset(StreamId id) {
    framing_->reset(id);
    update();
}

void Connection::update() {
    if (stage_ != Stage::Open || !watch_) {
        return;
    }
    const bool reads = !is_ending_ && has_room() && session_->can_take();
    const std::uint32_t events = (reads ? EPOLLIN : 0U) | (queued() > 0 ? EPOLLOUT : 0U);
    if (std::exchange(waited_for_, events) != events) {
        watch_.set_events(events);
    }
}

void Connection::end() {
    if (stage_ != Stage::Open || std::exchange(is_ending_, true)) {
        return;
    }
    framing_->say_goodbye();
    // Later, because it destroys the session, which calls this.
    ending_ = loop_.after(std::chrono::milliseconds(0), [this] { write_some(); });
}

void Connection::on_ready(std::uint32_t events) {
    if (stage_ == Stage::Lingering) {
        return read_some();
    }
    if ((events & EPOLLERR) != 0) {
        return done();
    }
    if ((events & EPOLLOUT) != 0) {
        write_some();
    }
    if (stage_ == Stage::Open && (events & EPOLLIN) != 0) {
        read_some();
    } else if (stage_ == Stage::Open && (events & EPOLLHUP) != 0) {
        done();  // both directions are closed
    }
}

void Connection::read_some() {
    std::array<std::byte, kInputSize> buffer;  // NOLINT(*-member-init): recv(2) fills it
    const ssize_t got = ::recv(socket_->fd().number(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        return done();
    }
    if (stage_ == Stage::Open) {
        last_use_ = EventLoop::Clock::now();
        feed(std::span(buffer).first(static_cast<std::size_t>(got)));
    }
}

void Connection::feed(std::span<const std::byte> bytes) {
    if (!is_ending_) {
        const Result<void> fed = framing_->feed(bytes, *session_);
        // Nothing is owed to a client that breaks the protocol, but the goodbye that explains it.
        is_ending_ = is_ending_ || !fed;
    }
    write_some();
}

void Connection::write_some() {
    if (stage_ != Stage::Open) {
        return;
    }
    std::string& output = framing_->output();
    while (sent_ < output.size()) {
        const ssize_t put = ::send(socket_->fd().number(), output.data() + sent_,
                                   output.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0 && errno != EAGAIN) {
            return done();
        }
        if (put < 0) {
            break;
        }
        last_use_ = EventLoop::Clock::now();
        sent_ += static_cast<std::size_t>(put);
    }
    if (sent_ == output.size()) {
        output.clear();
        sent_ = 0;
    } else if (sent_ > output.size() / 2) {
        output.erase(0, std::exchange(sent_, 0));
    }
    if (is_ending_ && output.empty()) {
        return linger();
    }
    if (!is_ending_ && has_room()) {
        session_->on_room();
    }
    update();
}

// A close with unread bytes in the socket would be a reset, and take what the client has not read
// yet with it. So the client closes first.
void Connection::linger() {
    stage_ = Stage::Lingering;
    session_.reset();
    ::shutdown(socket_->fd().number(), SHUT_WR);
    watch_.set_events(EPOLLIN);
    timer_ = loop_.after(options_.linger_timeout, [this] { done(); });
}

void Connection::done() {
    if (std::exchange(stage_, Stage::Done) == Stage::Done) {
        return;
    }
    watch_.cancel();
    timer_.cancel();
    done_ = loop_.after(std::chrono::milliseconds(0), [this] {
        OnDone on_done = std::move(on_done_);  // outlives us
        on_done();
    });
}

void Connection::watch_idleness() {
    const auto idle = EventLoop::Clock::now() - last_use_;
    if (idle >= options_.idle_timeout) {
        return done();
    }
    timer_ = loop_.after(options_.idle_timeout - idle, [this] { watch_idleness(); });
}

}  // namespace pepita::cri
