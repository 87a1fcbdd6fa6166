#include "compute/transport/connection.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::compute {
namespace {

constexpr std::size_t kReceive = 64U << 10U;
constexpr int kReceivesMax = 16;     // then other work of the loop has its turn
constexpr std::size_t kFdsMax = 64;  // that came and have no frame yet

TimePoint now() { return TimePoint::clock::now(); }

Error lies(std::string what) { return {Code::DataLoss, "the peer sent " + std::move(what)}; }

Result<Fd> file_of(const std::string& payload) {
    Fd file(::memfd_create("pepita-task", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    TRY(write_all(file.ref(), payload, "memory file"));
    if (::fcntl(file.ref().number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
        0) {
        return Error::from_errno(errno, "seal a memory file");
    }
    return file;
}

/// Reads it, rather than mapping it: nothing that the peer does to it can hurt.
Result<std::string> content_of(FdRef file, std::uint64_t size) {
    const int seals = ::fcntl(file.number(), F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_WRITE) == 0) {
        return lies("a descriptor that is no sealed memory file");
    }
    if (size > Frame::kPayloadMax || TRY(file_size(file)).value() != size) {
        return lies("a memory file of another size than it says");
    }
    std::string payload(size, '\0');
    TRY(read_exactly(file, std::as_writable_bytes(std::span(payload)), 0));
    return payload;
}

}  // namespace

Connection::Connection(EventLoop& loop, Fd socket, const Options& options, Handlers handlers,
                       bool is_unix)
    : loop_(loop),
      socket_(std::move(socket)),
      options_(options),
      handlers_(std::move(handlers)),
      is_unix_(is_unix),
      detector_(options.detector, now()) {}

Result<std::unique_ptr<Connection>> Connection::create(EventLoop& loop, Fd socket,
                                                       const Options& options, Handlers handlers) {
    CHECK(options.credit <= Hello::kCreditMax);
    int domain = 0;
    socklen_t length = sizeof domain;
    if (::getsockopt(socket.ref().number(), SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) {
        return Error::from_errno(errno, "look at a socket");
    }
    std::unique_ptr<Connection> self(
        new Connection(loop, std::move(socket), options, std::move(handlers), domain == AF_UNIX));
    self->watch_ = TRY(loop.watch(self->socket_.ref(), EPOLLIN,
                                  [self = self.get()](auto events) { self->on_ready(events); }));
    self->send({.type = FrameType::Hello,
                .payload = encode_hello({.version = Hello::kVersion, .credit = options.credit})});
    self->beat();
    return self;
}

Result<void> Connection::send_task(std::uint64_t id, std::string payload) {
    if (!is_open_) {
        return Error(Code::Unavailable, "the connection has ended");
    }
    if (payload.size() > Frame::kPayloadMax) {
        return Error(Code::OutOfRange,
                     "a task of more than " + std::to_string(Frame::kPayloadMax) + " bytes");
    }
    if (credit() == 0) {
        return Error(Code::ResourceExhausted, "the worker accepts no more tasks now");
    }
    if (!sent_.insert(id).second) {
        return Error(Code::AlreadyExists, "task " + std::to_string(id) + " is under way");
    }
    send_payload({.type = FrameType::Task, .id = id, .payload = std::move(payload)});
    return {};
}

void Connection::send_cancel(std::uint64_t id) {
    if (is_open_ && sent_.contains(id)) {
        send({.type = FrameType::Cancel, .id = id, .payload = {}});
    }
}

void Connection::send_result(std::uint64_t id, Result<std::string> output) {
    if (!is_open_) {
        return;
    }
    CHECK(served_.erase(id) == 1);
    if (output && output->size() > Frame::kPayloadMax) {
        output =
            Error(Code::OutOfRange, "an output of " + std::to_string(output->size()) +
                                        " bytes: at most " + std::to_string(Frame::kPayloadMax));
    }
    if (output) {
        return send_payload({.type = FrameType::Success, .id = id, .payload = *std::move(output)});
    }
    std::string payload(1, static_cast<char>(output.error().code()));
    payload.append(output.error().message(), 0, Frame::kPayloadMax - 1);
    send({.type = FrameType::Failure, .id = id, .payload = std::move(payload)});
}

/// Through a memory file, if that is cheaper and possible.
void Connection::send_payload(Frame frame) {
    if (is_unix_ && frame.payload.size() >= kFileSize) {
        if (Result<Fd> file = file_of(frame.payload)) {
            // The descriptor goes with the first byte of its frame.
            outgoing_fds_.emplace_back(written_ + outgoing_.size() - outgoing_begin_,
                                       *std::move(file));
            frame.flags = Frame::kInFile;
            frame.payload = encode_u64(frame.payload.size());
        }
    }
    send(frame);
}

void Connection::send(const Frame& frame) {
    encode(frame, outgoing_);
    if (!flushing_is_due_) {
        flushing_is_due_ = true;
        // Behind all that this round of the loop still sends.
        flushing_ = loop_.after(Duration::zero(), [this] {
            flushing_is_due_ = false;
            flush();
        });
    }
}

void Connection::flush() {
    while (is_open_ && outgoing_begin_ < outgoing_.size()) {
        std::span<const std::byte> bytes =
            std::as_bytes(std::span(outgoing_)).subspan(outgoing_begin_);
        std::vector<FdRef> fds;
        if (!outgoing_fds_.empty()) {
            const std::size_t before = outgoing_fds_.front().first - written_;
            if (before == 0) {
                fds.push_back(outgoing_fds_.front().second.ref());
                // Up to the next descriptor's frame: each is sent with its own.
                const std::size_t until =
                    outgoing_fds_.size() > 1 ? outgoing_fds_[1].first - written_ : bytes.size();
                bytes = bytes.first(std::min(until, bytes.size()));
            } else {
                bytes = bytes.first(std::min(before, bytes.size()));
            }
        }
        const Result<std::size_t> sent = send_some(socket_.ref(), bytes, fds);
        if (!sent && sent.error().sys_errno() == EAGAIN) {
            watch_.set_events(EPOLLIN | EPOLLOUT);
            return;
        }
        if (!sent) {
            return close(sent.error());
        }
        if (!fds.empty()) {
            outgoing_fds_.pop_front();
        }
        outgoing_begin_ += *sent;
        written_ += *sent;
    }
    outgoing_.clear();
    outgoing_begin_ = 0;
    watch_.set_events(EPOLLIN);
}

void Connection::on_ready(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
        flush();
    }
    if (is_open_ && (events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) {
        if (const Result<void> received = receive(); !received) {
            close(received.error());
        }
    }
}

Result<void> Connection::receive() {
    std::array<std::byte, kReceive> buffer;
    for (int count = 0; count < kReceivesMax; ++count) {
        Result<Received> result = receive_some(socket_.ref(), buffer);
        if (!result && result.error().sys_errno() == EAGAIN) {
            return {};
        }
        Received received = TRY(std::move(result), "receive");
        if (received.size == 0) {
            return Error(Code::Unavailable, "the peer has ended the connection");
        }
        for (Fd& fd : received.fds) {
            received_fds_.push_back(std::move(fd));
        }
        if (received_fds_.size() > kFdsMax) {
            return lies("descriptors without frames");
        }
        reader_.append(std::span(buffer).first(received.size));
        for (;;) {
            std::optional<Frame> frame = TRY(reader_.next());
            if (!frame) {
                break;
            }
            TRY(take(*std::move(frame)));
        }
    }
    return {};
}

Result<void> Connection::take(Frame frame) {
    if (frame.type == FrameType::Hello) {
        return take_hello(frame);
    }
    if (!has_hello_) {
        return lies("something else than a hello at first");
    }
    switch (frame.type) {
        case FrameType::Hello:
            break;
        case FrameType::Task: {
            std::string payload = TRY(payload_of(frame));
            if (served_.size() == options_.credit) {
                return lies("a task beyond its credit");
            }
            if (!served_.insert(frame.id).second) {
                return lies("a task that is under way already");
            }
            handlers_.on_task(frame.id, std::move(payload));
            break;
        }
        case FrameType::Cancel:
            if (served_.contains(frame.id)) {
                handlers_.on_cancel(frame.id);
            }
            break;
        case FrameType::Success:
        case FrameType::Failure:
            return take_result(std::move(frame));
        case FrameType::Heartbeat:
            detector_.on_heartbeat(now());
            break;
    }
    return {};
}

Result<void> Connection::take_hello(const Frame& frame) {
    if (std::exchange(has_hello_, true)) {
        return lies("a second hello");
    }
    granted_ = TRY(decode_hello(frame.payload)).credit;
    if (granted_ != 0) {
        handlers_.on_credit();
    }
    return {};
}

Result<void> Connection::take_result(Frame frame) {
    std::string payload = TRY(payload_of(frame));
    if (sent_.erase(frame.id) == 0) {
        return lies("a result of no task of ours");
    }
    if (frame.type == FrameType::Success) {
        handlers_.on_result(frame.id, std::move(payload));
    } else {
        const auto code = payload.empty() ? 0 : static_cast<std::uint8_t>(payload.front());
        if (code < std::to_underlying(Code::Cancelled) ||
            code > std::to_underlying(Code::DataLoss)) {
            return lies("a failure without a code");
        }
        handlers_.on_result(frame.id, Error(static_cast<Code>(code), payload.substr(1)));
    }
    handlers_.on_credit();
    return {};
}

Result<std::string> Connection::payload_of(Frame& frame) {
    if (frame.flags != Frame::kInFile) {
        return std::move(frame.payload);
    }
    const std::optional<std::uint64_t> size = decode_u64(frame.payload);
    if (!size || received_fds_.empty()) {
        return lies("a frame without its memory file");
    }
    const Fd file = std::move(received_fds_.front());
    received_fds_.pop_front();
    return content_of(file.ref(), *size);
}

void Connection::beat() {
    if (detector_.phi(now()) > PhiDetector::kDead) {
        // It may be this process that was held up: then heartbeats wait in the socket.
        if (const Result<void> received = receive(); !received) {
            return close(received.error());
        }
        if (detector_.phi(now()) > PhiDetector::kDead) {
            return close(Error(Code::Unavailable, "the peer is silent"));
        }
    }
    if (outgoing_.empty()) {  // else the peer does not read, and this would grow
        send({.type = FrameType::Heartbeat, .payload = {}});
    }
    beating_ = loop_.after(options_.heartbeat, [this] { beat(); });
}

void Connection::close(const Error& error) {
    if (!std::exchange(is_open_, false)) {
        return;
    }
    watch_.cancel();
    flushing_.cancel();
    beating_.cancel();
    socket_ = Fd();
    outgoing_fds_.clear();
    received_fds_.clear();
    for (const std::uint64_t id : std::exchange(sent_, {})) {
        handlers_.on_result(id, Error(Code::Unavailable, "the worker is lost: " + error.message()));
    }
    handlers_.on_closed(error);
}

}  // namespace pepita::compute
