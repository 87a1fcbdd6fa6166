#include "shim/kept_output.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "shim/attacher_sink.h"
#include "shim/container_log.h"

namespace pepita::shim {
namespace {

// So that one busy stream does not keep the loop from the others.
constexpr int kReadsPerTurn = 8;
constexpr int kLastReads = 64;

}  // namespace

KeptOutput::KeptOutput(EventLoop& loop, std::unique_ptr<ContainerLog> log,
                       std::move_only_function<void()> on_written)
    : loop_(loop), log_(std::move(log)), on_written_(std::move(on_written)) {
    if (log_) {
        log_->set_on_ready([this] { on_log_ready(); });
    }
}

KeptOutput::~KeptOutput() {
    for (Stream& stream : streams_) {
        write_rest(stream);
    }
}

// The last words of a process whose pod ends.
void KeptOutput::write_rest(Stream& stream) {
    if (!log_ || !stream.connection) {
        return;
    }
    // A guest that still writes does not keep us for ever.
    for (int read = 0; read < kLastReads && !log_->is_full(); ++read) {
        const ssize_t got =
            ::recv(stream.connection.ref().number(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
        if (got <= 0) {
            break;
        }
        log_->write(stream.which, {buffer_.data(), static_cast<std::size_t>(got)});
    }
    log_->end(stream.which);
}

Result<void> KeptOutput::connect(LogStream which, Fd connection) {
    stream(which).connection = std::move(connection);
    return watch(stream(which));
}

Result<void> KeptOutput::watch(Stream& stream) {
    stream.watch = TRY(loop_.watch(stream.connection.ref(), EPOLLIN,
                                   [this, &stream](std::uint32_t) { on_readable(stream); }));
    return {};
}

Result<void> KeptOutput::attach(LogStream which, Fd sink) {
    Stream& to = stream(which);
    if (!sink || !to.connection) {
        return {};
    }
    if (to.sinks.size() == kAttachersMax) {
        return Error(Code::ResourceExhausted,
                     "a stream has at most " + std::to_string(kAttachersMax) + " attachers");
    }
    const auto place = to.sinks.emplace(to.sinks.end());
    auto made =
        AttacherSink::create(loop_, std::move(sink), [&to, place] { to.sinks.erase(place); });
    if (!made) {
        to.sinks.erase(place);
        return std::move(made).error();
    }
    *place = *std::move(made);
    return {};
}

Result<void> KeptOutput::reopen_log() {
    if (!log_) {
        return Error(Code::FailedPrecondition, "the container has no log");
    }
    return log_->reopen();
}

void KeptOutput::on_readable(Stream& stream) {
    for (int read = 0; read < kReadsPerTurn; ++read) {
        if (log_ && log_->is_full()) {
            // Nobody reads until on_log_ready(). A watch for nothing would be told of a hang-up.
            return stream.watch.cancel();
        }
        const ssize_t got =
            ::recv(stream.connection.ref().number(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
        if (got > 0) {
            pass_on(stream, static_cast<std::size_t>(got));
        } else if (got < 0 && errno == EAGAIN) {
            return;
        } else if (got == 0 || errno != EINTR) {
            return end(stream);
        }
    }
}

void KeptOutput::pass_on(Stream& stream, std::size_t size) {
    const std::string_view bytes(buffer_.data(), size);
    if (log_) {
        log_->write(stream.which, bytes);
    }
    for (const auto& sink : stream.sinks) {
        sink->put(bytes);
    }
}

void KeptOutput::end(Stream& stream) {
    stream.watch.cancel();
    stream.connection = Fd();
    if (log_) {
        log_->end(stream.which);
    }
    for (const auto& sink : stream.sinks) {
        sink->finish();
    }
    tell_if_written();
}

void KeptOutput::on_log_ready() {
    for (Stream& stream : streams_) {
        if (!stream.connection || stream.watch) {
            continue;
        }
        if (const Result<void> watched = watch(stream); !watched) {
            log::warn("a container's output is lost", {{"error", watched.error().message()}});
            end(stream);
        }
    }
    tell_if_written();
}

void KeptOutput::tell_if_written() {
    const bool is_full = log_ && log_->is_full();
    if (streams_[0].connection || streams_[1].connection || is_full || !on_written_) {
        return;
    }
    // Not in a call of ours: the callback may give us up.
    telling_ = loop_.after(std::chrono::seconds(0), [this] {
        if (auto done = std::exchange(on_written_, nullptr)) {
            done();
        }
    });
}

}  // namespace pepita::shim
