#include "kernel-abi/sys/listener.h"

#include <sys/epoll.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita {
namespace {

constexpr std::chrono::milliseconds kPause{100};

/// What ends when other descriptors or memory are released. All else is about one client.
bool is_exhaustion(int number) {
    return number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
}

}  // namespace

Listener::Listener(EventLoop& loop, Fd socket, OnClient on_client, Options options)
    : loop_(loop),
      socket_(std::move(socket)),
      on_client_(std::move(on_client)),
      options_(std::move(options)) {}

Result<std::unique_ptr<Listener>> Listener::create(EventLoop& loop, Fd socket, OnClient on_client) {
    return create(loop, std::move(socket), std::move(on_client), {});
}

Result<std::unique_ptr<Listener>> Listener::create(EventLoop& loop, Fd socket, OnClient on_client,
                                                   Options options) {
    if (options.accept == nullptr) {
        options.accept = accept_client;
    }
    std::unique_ptr<Listener> made(
        new Listener(loop, std::move(socket), std::move(on_client), std::move(options)));
    made->watch_ = TRY(loop.watch(made->socket_.ref(), EPOLLIN,
                                  [self = made.get()](std::uint32_t) { self->on_ready(); }));
    return made;
}

// One client an event: the others are announced again, and the callback may destroy us.
void Listener::on_ready() {
    Result<Fd> client = options_.accept(socket_.ref());
    if (client) {
        return on_client_(*std::move(client));
    }
    if (!is_exhaustion(client.error().sys_errno())) {
        return;
    }
    watch_.set_events(0);
    pause_ = loop_.after(kPause, [this] {
        if (!is_suspended_) {
            watch_.set_events(EPOLLIN);
        }
    });
    if (options_.on_pause) {
        options_.on_pause(client.error());
    }
}

void Listener::suspend() {
    is_suspended_ = true;
    watch_.set_events(0);
}

void Listener::resume() {
    is_suspended_ = false;
    watch_.set_events(EPOLLIN);
}

}  // namespace pepita
