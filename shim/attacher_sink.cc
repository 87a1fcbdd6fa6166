#include "shim/attacher_sink.h"

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
#include <string_view>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "shim/console.h"

namespace pepita::shim {
namespace {

bool is_socket(FdRef fd) {
    struct stat about{};
    return ::fstat(fd.number(), &about) == 0 && S_ISSOCK(about.st_mode);
}

}  // namespace

AttacherSink::AttacherSink(EventLoop& loop, Fd sink, std::move_only_function<void()> on_over)
    : loop_(loop),
      sink_(std::move(sink)),
      is_socket_(is_socket(sink_.ref())),
      on_over_(std::move(on_over)) {}

Result<std::unique_ptr<AttacherSink>> AttacherSink::create(
    EventLoop& loop, Fd sink, std::move_only_function<void()> on_over) {
    Fd twin = TRY(nonblocking_twin(std::move(sink)));
    std::unique_ptr<AttacherSink> made(new AttacherSink(loop, std::move(twin), std::move(on_over)));
    AttacherSink* self = made.get();
    auto watch =
        loop.watch(made->sink_.ref(), 0, [self](std::uint32_t events) { self->on_event(events); });
    if (watch) {
        made->watch_ = *std::move(watch);
    } else if (watch.error().sys_errno() != EPERM) {
        return std::move(watch).error();
    }
    return made;
}

void AttacherSink::put(std::string_view bytes) {
    if (is_over_ || is_last_) {
        return;
    }
    if (waiting_.empty()) {
        bytes.remove_prefix(write_some(bytes));
    }
    if (bytes.empty() || is_over_) {
        return;
    }
    if (waiting_.size() + bytes.size() > kWaitingMax) {
        log::info("an attacher that reads too slowly is given up", {});
        return end();
    }
    waiting_ += bytes;
    watch_.set_events(EPOLLOUT);
}

void AttacherSink::finish() {
    is_last_ = true;
    if (waiting_.empty()) {
        end();
    }
}

std::size_t AttacherSink::write_some(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size()) {
        const std::string_view rest = bytes.substr(taken);
        const ssize_t got = is_socket_ ? ::send(sink_.ref().number(), rest.data(), rest.size(),
                                                MSG_NOSIGNAL | MSG_DONTWAIT)
                                       : ::write(sink_.ref().number(), rest.data(), rest.size());
        if (got >= 0) {
            taken += static_cast<std::size_t>(got);
            continue;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            end();
        }
        break;
    }
    return taken;
}

void AttacherSink::on_event(std::uint32_t events) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        return end();
    }
    waiting_.erase(0, write_some(waiting_));
    if (!waiting_.empty() || is_over_) {
        return;
    }
    watch_.set_events(0);
    if (is_last_) {
        end();
    }
}

// Told later: the owner may be passing bytes on to us.
void AttacherSink::end() {
    if (std::exchange(is_over_, true)) {
        return;
    }
    watch_.cancel();
    telling_ = loop_.after(std::chrono::seconds(0), [this] {
        auto on_over = std::move(on_over_);
        on_over();
    });
}

}  // namespace pepita::shim
