#include "runtime/rpc/channel.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/ttrpc_codec.h"

namespace pepita::runtime {
namespace {

// A peer that calls and never reads its answers loses its connection here.
constexpr std::size_t kOutgoingMax = std::size_t{16} << 20U;
// Descriptors of calls that are not complete yet.
constexpr std::size_t kWaitingFdsMax = 64;
constexpr std::size_t kReadSize = std::size_t{64} * 1024;

}  // namespace

Channel::Responder::Responder(std::weak_ptr<Channel> channel, std::uint32_t stream)
    : channel_(std::move(channel)), stream_(stream) {}

Channel::Responder::Responder(Responder&& other) noexcept
    : channel_(std::move(other.channel_)), stream_(std::exchange(other.stream_, 0)) {}

Channel::Responder& Channel::Responder::operator=(Responder&& other) noexcept {
    std::swap(channel_, other.channel_);
    std::swap(stream_, other.stream_);
    return *this;
}

Channel::Responder::~Responder() {
    if (stream_ != 0) {
        respond(Error(Code::Internal, "the call was dropped"));
    }
}

void Channel::Responder::respond(Result<std::string> payload) {
    const std::uint32_t stream = std::exchange(stream_, 0);
    if (const std::shared_ptr<Channel> channel = channel_.lock()) {
        channel->answer(stream, payload);
    }
}

Channel::Channel(EventLoop& loop, Fd socket, Handlers handlers)
    : loop_(loop), socket_(std::move(socket)), handlers_(std::move(handlers)) {}

Channel::~Channel() = default;

Result<std::shared_ptr<Channel>> Channel::create(EventLoop& loop, Fd socket, Handlers handlers) {
    api::silence_protobuf();
    std::shared_ptr<Channel> channel(new Channel(loop, std::move(socket), std::move(handlers)));
    Channel* self = channel.get();
    channel->watch_ = TRY(loop.watch(channel->socket_.ref(), EPOLLIN,
                                     [self](std::uint32_t events) { self->on_ready(events); }));
    return channel;
}

void Channel::on_ready(std::uint32_t events) {
    // A handler may let go of the last other reference.
    const std::shared_ptr<Channel> self = shared_from_this();
    if ((events & EPOLLOUT) != 0) {
        if (const Result<void> sent = flush(); !sent) {
            return fail(sent.error());
        }
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        if (const Result<void> received = receive(); !received) {
            fail(received.error());
        }
    }
}

Result<void> Channel::receive() {
    std::array<std::byte, kReadSize> bytes;
    Result<Received> received = receive_some(socket_.ref(), bytes);
    if (!received) {
        if (received.error().sys_errno() == EAGAIN) {
            return {};
        }
        return std::move(received).error();
    }
    if (received->size == 0) {
        return Error(Code::Unavailable, "the other side closed the connection");
    }
    std::ranges::move(received->fds, std::back_inserter(incoming_fds_));
    if (incoming_fds_.size() > kWaitingFdsMax) {
        return Error(Code::DataLoss, "more descriptors than calls could want");
    }
    // SAFETY: bytes seen as characters.
    incoming_.append(reinterpret_cast<const char*>(bytes.data()), received->size);
    return take_frames();
}

Result<void> Channel::take_frames() {
    std::size_t at = 0;
    while (socket_ && incoming_.size() - at >= api::kHeaderSize) {
        const auto bytes = std::as_bytes(std::span(incoming_)).subspan(at);
        const api::Header header = TRY(api::decode_header(bytes.first<api::kHeaderSize>()));
        if (incoming_.size() - at - api::kHeaderSize < header.length) {
            break;
        }
        const std::string message = incoming_.substr(at + api::kHeaderSize, header.length);
        at += api::kHeaderSize + header.length;
        if (header.type == api::MessageType::Request) {
            TRY(take_request(header.stream, message));
        } else {
            take_response(header.stream, message);
        }
    }
    incoming_.erase(0, at);
    return {};
}

Result<void> Channel::take_request(std::uint32_t stream, std::string_view message) {
    if (stream % 2 == 0) {
        return Error(Code::DataLoss, "a call on an even stream");
    }
    api::Request request = TRY(api::decode_request(message));
    if (request.fd_count > incoming_fds_.size()) {
        return Error(Code::DataLoss, "a call that names more descriptors than came");
    }
    Call call{.service = std::move(request.service),
              .method = std::move(request.method),
              .payload = std::move(request.payload),
              .fds = {},
              .responder = Responder(weak_from_this(), stream)};
    for (std::uint32_t i = 0; i < request.fd_count; ++i) {
        call.fds.push_back(std::move(incoming_fds_.front()));
        incoming_fds_.pop_front();
    }
    if (handlers_.on_call) {
        handlers_.on_call(std::move(call));
    } else {
        call.responder.respond(Error(Code::Unsupported, "this side serves no calls"));
    }
    return {};
}

void Channel::take_response(std::uint32_t stream, std::string_view message) {
    auto found = calls_.extract(stream);
    if (found) {  // else its deadline was over, or the peer made it up
        found.mapped().deadline.cancel();
        found.mapped().on_reply(api::decode_response(message));
    }
}

void Channel::answer(std::uint32_t stream, const Result<std::string>& payload) {
    std::string message = api::encode_response(payload);
    if (message.size() > api::kMessageMax) {
        message = api::encode_response(Error(Code::ResourceExhausted, "the answer is too long"));
    }
    send({.bytes = api::encode_frame(stream, api::MessageType::Response, message),
          .sent = 0,
          .fds = {}});
}

void Channel::call(std::string_view service, std::string_view method, std::string payload,
                   const CallOptions& options, Reply on_reply) {
    const std::uint32_t stream = next_stream_;
    next_stream_ += 2;
    OpenCall& open = calls_[stream];
    open.on_reply = std::move(on_reply);
    if (options.deadline) {
        open.deadline = loop_.after(*options.deadline, [this, stream] {
            auto late = calls_.extract(stream);
            late.mapped().on_reply(Error(Code::DeadlineExceeded, "no answer in time"));
        });
    }
    if (!socket_) {
        return fail_later(Error(Code::Unavailable, "the connection is closed"));
    }
    std::string message = api::encode_request(
        {.service = std::string(service),
         .method = std::string(method),
         .payload = std::move(payload),
         .timeout_ns = options.deadline ? std::chrono::nanoseconds(*options.deadline).count() : 0,
         .fd_count = static_cast<std::uint32_t>(options.fds.size())});
    if (message.size() > api::kMessageMax) {
        // Answered later like every other call.
        open.deadline = loop_.after(std::chrono::seconds(0), [this, stream] {
            auto refused = calls_.extract(stream);
            refused.mapped().on_reply(
                Error(Code::ResourceExhausted, "the request is longer than ttrpc allows"));
        });
        return;
    }
    Outgoing outgoing{.bytes = api::encode_frame(stream, api::MessageType::Request, message),
                      .sent = 0,
                      .fds = {}};
    for (const FdRef fd : options.fds) {
        Result<Fd> copy = duplicate(fd);
        if (!copy) {
            return fail_later(std::move(copy).error());
        }
        outgoing.fds.push_back(*std::move(copy));
    }
    send(std::move(outgoing));
}

void Channel::send(Outgoing outgoing) {
    if (!socket_ || is_failing_) {
        return;  // or the queue would grow until the loop's next round
    }
    outgoing_bytes_ += outgoing.bytes.size();
    outgoing_.push_back(std::move(outgoing));
    if (outgoing_bytes_ > kOutgoingMax) {
        return fail_later(Error(Code::ResourceExhausted, "the other side does not read"));
    }
    // Not fail(): the caller is in the middle of something.
    if (Result<void> sent = flush(); !sent) {
        fail_later(std::move(sent).error());
    }
}

Result<void> Channel::flush() {
    while (!outgoing_.empty()) {
        Outgoing& first = outgoing_.front();
        std::vector<FdRef> fds;
        if (first.sent == 0) {
            for (const Fd& fd : first.fds) {
                fds.push_back(fd.ref());
            }
        }
        const auto rest = std::as_bytes(std::span(first.bytes)).subspan(first.sent);
        Result<std::size_t> sent = send_some(socket_.ref(), rest, fds);
        if (!sent) {
            if (sent.error().sys_errno() == EAGAIN) {
                break;
            }
            return std::move(sent).error();
        }
        first.fds.clear();
        first.sent += *sent;
        outgoing_bytes_ -= *sent;
        if (first.sent == first.bytes.size()) {
            outgoing_.pop_front();
        }
    }
    watch_.set_events(outgoing_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
    return {};
}

void Channel::fail_later(Error error) {
    is_failing_ = true;
    failing_ =
        loop_.after(std::chrono::seconds(0), [this, late = std::move(error)] { fail(late); });
}

void Channel::fail(const Error& error) {
    const std::shared_ptr<Channel> self = shared_from_this();
    auto on_closed = std::exchange(handlers_.on_closed, nullptr);
    const Error reason(Code::Unavailable, error.message());  // close() may take `error` along
    close();
    if (on_closed) {
        on_closed(reason);
    }
}

void Channel::close() {
    const std::shared_ptr<Channel> self = shared_from_this();
    handlers_.on_closed = nullptr;
    watch_.cancel();
    socket_ = Fd();
    outgoing_.clear();
    outgoing_bytes_ = 0;
    while (!calls_.empty()) {
        auto call = calls_.extract(calls_.begin());
        call.mapped().deadline.cancel();
        call.mapped().on_reply(Error(Code::Unavailable, "the connection ended"));
    }
}

}  // namespace pepita::runtime
