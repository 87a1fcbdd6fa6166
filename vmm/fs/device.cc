#include "vmm/fs/device.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/device.h"
#include "vmm/vhost_user/front_end.h"

namespace pepita::vmm {

Fs::Fs(VhostUserFrontEnd server, std::string_view tag) : server_(std::move(server)) {
    std::ranges::copy(tag.substr(0, config_.tag.size()), config_.tag.begin());
    config_.num_request_queues = 1;
}

Result<std::unique_ptr<Fs>> Fs::create(EventLoop& loop, Fd socket, const LentMemory& memory,
                                       std::string_view tag) {
    // Before `new`, which an error would leave without its object.
    VhostUserFrontEnd server = TRY(VhostUserFrontEnd::create(std::move(socket), memory));
    const FdRef socket_of_server = server.socket();
    std::unique_ptr<Fs> made(new Fs(std::move(server), tag));
    TRY(made->watch(loop, socket_of_server));
    return made;
}

Result<void> Fs::watch(EventLoop& loop, FdRef server) {
    // Nothing is due there but its end: answers are waited for where they are asked for.
    server_watch_ = TRY(loop.watch(server, EPOLLIN | EPOLLRDHUP, [this](std::uint32_t) {
        lose(Error(Code::Unavailable, "the server closed its connection"));
    }));
    std::uint16_t number = 0;
    for (Queue& queue : queues_) {
        queue.kick = TRY(create_eventfd());
        queue.call = TRY(create_eventfd());
        queue.watch = TRY(loop.watch(queue.call.ref(), EPOLLIN,
                                     [this, number](std::uint32_t) { on_call(number); }));
        ++number;
    }
    return {};
}

void Fs::lose(const Error& why) {
    if (!server_) {
        return;
    }
    log::error("virtio-fs lost its server", {{"error", why.message()}});
    server_watch_.cancel();
    server_.reset();
    if (notifier_ != nullptr) {
        notifier_->queue_broken(0);
    }
}

void Fs::start(const virtio::Session& session) {
    notifier_ = &session.notifier;
    if (!server_) {
        return;
    }
    if (const Result<void> started = server_->start(session.features); !started) {
        lose(started.error());
    }
}

Result<std::size_t> Fs::start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) {
    if (queue >= queues_.size() || notifier_ == nullptr || queues_[queue].is_started) {
        return std::size_t{0};
    }
    if (!server_) {
        return Error(Code::Unavailable, "the server is gone");
    }
    Queue& starting = queues_[queue];
    TRY(server_->start_queue(queue, setup,
                             {.kick = starting.kick.ref(), .call = starting.call.ref()}));
    starting.is_started = true;
    signal_lent_eventfd(starting.kick.ref());  // for what is in it already
    return std::size_t{0};
}

std::uint16_t Fs::stop_queue(std::uint16_t queue) {
    if (queue >= queues_.size() || !std::exchange(queues_[queue].is_started, false) || !server_) {
        return 0;
    }
    const Result<std::uint16_t> next = server_->stop_queue(queue);
    if (!next) {
        lose(next.error());
        return 0;
    }
    return *next;
}

void Fs::kick(std::uint16_t queue) {
    if (queue < queues_.size() && queues_[queue].is_started) {
        signal_lent_eventfd(queues_[queue].kick.ref());
    }
}

void Fs::on_call(std::uint16_t queue) {
    Queue& called = queues_[queue];
    if (!drain_lent_eventfd(called.call.ref())) {
        called.watch.cancel();  // never: it is an eventfd
        return;
    }
    if (called.is_started && notifier_ != nullptr) {
        notifier_->queue_used(queue);
    }
}

void Fs::reset() {
    for (std::size_t queue = 0; queue < queues_.size(); ++queue) {
        (void)stop_queue(static_cast<std::uint16_t>(queue));
    }
    notifier_ = nullptr;
}

}  // namespace pepita::vmm
