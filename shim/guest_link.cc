#include "shim/guest_link.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::shim {
namespace {

constexpr std::size_t kAnswerMax = 32;  // "OK 4294967295\n" and room
constexpr std::string_view kReadyWord = "ready\n";

// The next byte, or nothing where none waits. What follows a line belongs to somebody else.
Result<std::string> read_byte(FdRef socket) {
    std::array<std::byte, 1> byte{};
    const Received received = TRY(receive_some(socket, byte));
    if (received.size == 0) {
        return Error(Code::Unavailable, "the other side closed the connection");
    }
    return std::string(1, static_cast<char>(byte[0]));
}

/// "OK <port>\n", with the port that the other side gave the connection.
bool is_ok(std::string_view line) {
    constexpr std::string_view ok = "OK ";
    if (!line.starts_with(ok)) {
        return false;
    }
    const char* end = line.data() + line.size() - 1;
    std::uint32_t port = 0;
    const auto [rest, error] = std::from_chars(line.data() + ok.size(), end, port);
    return error == std::errc() && rest == end;
}

}  // namespace

std::unique_ptr<GuestConnect> GuestConnect::start(EventLoop& loop, const Target& target,
                                                  Done done) {
    std::unique_ptr<GuestConnect> connect(new GuestConnect(std::move(done)));
    GuestConnect* self = connect.get();
    connect->deadline_ = loop.after(target.deadline, [self, port = target.port] {
        self->finish(Error(Code::DeadlineExceeded,
                           "guest port " + std::to_string(port) + ": no answer in time"));
    });
    if (const Result<void> begun = connect->begin(loop, target); !begun) {
        // Answered later, as promised: the caller does not hold the handle yet.
        connect->deadline_ =
            loop.after(std::chrono::seconds(0), [self, message = begun.error().message()] {
                self->finish(Error(Code::Unavailable, message));
            });
    }
    return connect;
}

Result<void> GuestConnect::begin(EventLoop& loop, const Target& target) {
    socket_ = TRY(connect_unix_at(target.directory, target.name));
    const std::string request = "CONNECT " + std::to_string(target.port) + "\n";
    // A new socket has room for one line.
    (void)TRY(send_some(socket_.ref(), std::as_bytes(std::span(request))));
    watch_ = TRY(loop.watch(socket_.ref(), EPOLLIN, [this](std::uint32_t) { on_answer(); }));
    return {};
}

void GuestConnect::on_answer() {
    while (true) {
        Result<std::string> byte = read_byte(socket_.ref());
        if (!byte) {
            if (byte.error().sys_errno() != EAGAIN) {
                finish(std::move(byte).error().within("connect to the guest"));
            }
            return;
        }
        answer_ += *byte;
        if (answer_.ends_with('\n')) {
            break;
        }
        if (answer_.size() == kAnswerMax) {
            return finish(Error(Code::DataLoss, "connect to the guest: not an answer"));
        }
    }
    if (!is_ok(answer_)) {
        return finish(Error(Code::DataLoss, "connect to the guest: not an answer"));
    }
    watch_.cancel();
    finish(std::move(socket_));
}

void GuestConnect::finish(Result<Fd> result) {
    watch_.cancel();
    deadline_.cancel();
    // The callback may give this object up.
    Done done = std::move(done_);
    done(std::move(result));
}

Result<std::unique_ptr<ReadyListener>> ReadyListener::create(
    EventLoop& loop, Fd listener, std::move_only_function<void()> on_ready) {
    std::unique_ptr<ReadyListener> ready(new ReadyListener(std::move(on_ready)));
    ReadyListener* self = ready.get();
    ready->listener_ = TRY(Listener::create(loop, std::move(listener), [self, &loop](Fd client) {
        self->on_client(loop, std::move(client));
    }));
    return ready;
}

void ReadyListener::on_client(EventLoop& loop, Fd client) {
    client_watch_.cancel();
    client_ = std::move(client);
    word_.clear();
    auto watch = loop.watch(client_.ref(), EPOLLIN, [this](std::uint32_t) { on_word(); });
    if (watch) {
        client_watch_ = *std::move(watch);
    }
}

void ReadyListener::on_word() {
    std::array<std::byte, kReadyWord.size() + 1> bytes{};
    const Result<Received> received = receive_some(client_.ref(), bytes);
    if (!received && received.error().sys_errno() == EAGAIN) {
        return;
    }
    if (received && received->size > 0) {
        for (const std::byte byte : std::span(bytes).first(received->size)) {
            word_ += static_cast<char>(byte);
        }
        if (word_ != kReadyWord && kReadyWord.starts_with(word_)) {
            return;
        }
    }
    client_watch_.cancel();
    client_ = Fd();
    if (word_ == kReadyWord && on_ready_) {
        // The callback may give this object up.
        auto on_ready = std::exchange(on_ready_, nullptr);
        on_ready();
    }
}

}  // namespace pepita::shim
