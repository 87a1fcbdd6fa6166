#include "vmm/vsock/client.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel-abi/sys/socket.h"

namespace pepita::vmm::vsock {
namespace {

constexpr std::size_t kSegmentsMax = 64;

struct Parts {
    std::array<iovec, kSegmentsMax> vectors;
    msghdr message{};

    explicit Parts(std::span<const Client::Segment> segments) {
        std::size_t count = 0;
        for (const Client::Segment& segment :
             segments.first(std::min(segments.size(), kSegmentsMax))) {
            if (!segment.empty()) {
                vectors[count++] = {.iov_base = segment.data(), .iov_len = segment.size()};
            }
        }
        message.msg_iov = vectors.data();
        message.msg_iovlen = count;
    }
    std::size_t size() const {
        std::size_t sum = 0;
        for (const iovec& part : std::span(vectors).first(message.msg_iovlen)) {
            sum += part.iov_len;
        }
        return sum;
    }
};

}  // namespace

Client::Waiting Client::waiting() const {
    int size = 0;
    // NOLINTNEXTLINE(misc-include-cleaner): <sys/ioctl.h> it is, whatever that includes.
    if (::ioctl(socket_.ref().number(), FIONREAD, &size) == 0 && size > 0) {
        return {.size = static_cast<std::size_t>(size), .ended = false};
    }
    std::byte byte{};
    const ssize_t got =
        ::recv(socket_.ref().number(), &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
    // ECONNRESET: it closed with bytes of ours unread.
    return {.size = 0, .ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)};
}

std::size_t Client::receive(std::span<const Segment> into) {
    Parts parts(into);
    // No control buffer: descriptors that a client sends along are closed by the kernel.
    const ssize_t got = ::recvmsg(socket_.ref().number(), &parts.message, MSG_DONTWAIT);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
}

std::size_t Client::send(std::span<const Segment> from) {
    std::size_t sum = 0;
    while (!from.empty() && !deaf_) {
        Parts parts(from);
        const std::size_t size = parts.size();
        const ssize_t sent = size == 0 ? 0
                                       : ::sendmsg(socket_.ref().number(), &parts.message,
                                                   MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            deaf_ = errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM;
            break;
        }
        sum += static_cast<std::size_t>(sent);
        if (static_cast<std::size_t>(sent) < size) {
            break;
        }
        from = from.subspan(std::min(from.size(), kSegmentsMax));
    }
    return sum;
}

std::uint32_t Client::deliver(std::span<const Segment> from) {
    const std::size_t out = unsent_.empty() ? send(from) : 0;
    std::size_t skip = out;
    std::size_t lost = 0;
    for (const Segment& segment : from) {
        const Segment rest = segment.subspan(std::min(skip, segment.size()));
        skip -= segment.size() - rest.size();
        if (deaf_) {
            lost += rest.size();
        } else {
            unsent_.append(rest);
        }
    }
    return static_cast<std::uint32_t>(out + lost);
}

std::uint32_t Client::flush() {
    const std::size_t out = send(unsent_.contents());
    unsent_.pop(out);
    finish_if_empty();
    return static_cast<std::uint32_t>(out);
}

bool Client::say(std::string_view text) {
    const auto sent = send_some(socket_.ref(), std::as_bytes(std::span(text)));
    return sent.has_value() && *sent == text.size();
}

void Client::finish_sending() {
    finishing_ = true;
    finish_if_empty();
}

void Client::finish_if_empty() {
    if (finishing_ && !finished_ && unsent_.empty()) {
        finished_ = true;
        (void)::shutdown(socket_.ref().number(), SHUT_WR);  // fails only where it is gone
    }
}

void Client::stop_receiving() { (void)::shutdown(socket_.ref().number(), SHUT_RD); }

std::uint32_t Client::give_up() {
    deaf_ = true;
    const std::size_t lost = unsent_.size();
    unsent_.clear();
    return static_cast<std::uint32_t>(lost);
}

}  // namespace pepita::vmm::vsock
