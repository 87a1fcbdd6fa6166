#include "kernel-abi/sys/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

/// The kernel writes a dump in pieces of up to 32 KiB where the reader has room for it.
constexpr std::size_t kBufferSize = std::size_t{64} * 1024;

/// Dumps that a change of what they list interrupts, one after the other.
constexpr int kRoundsMax = 16;

constexpr std::size_t aligned(std::size_t size) { return (size + 3) / 4 * 4; }

/// The kernel's own words for an error, or "".
std::string reason_of(std::span<const std::byte> body, std::uint16_t flags) {
    // The request's header follows the error, its body only without NLM_F_CAPPED.
    constexpr std::size_t head = sizeof(nlmsgerr);
    if ((flags & NLM_F_ACK_TLVS) == 0 || body.size() < head) {
        return "";
    }
    nlmsgerr error{};
    std::memcpy(&error, body.data(), sizeof(error));
    std::size_t behind = head;
    if ((flags & NLM_F_CAPPED) == 0 && error.msg.nlmsg_len >= sizeof(nlmsghdr)) {
        behind += aligned(error.msg.nlmsg_len - sizeof(nlmsghdr));
    }
    return behind < body.size() ? NetlinkAttributes(body.subspan(behind)).text(NLMSGERR_ATTR_MSG)
                                : "";
}

Result<void> outcome_of(std::span<const std::byte> body, std::uint16_t flags) {
    int error = 0;
    if (body.size() < sizeof(error)) {
        return Error(Code::DataLoss, "netlink: the answer is cut");
    }
    std::memcpy(&error, body.data(), sizeof(error));
    if (error == 0) {
        return {};
    }
    const std::string reason = reason_of(body, flags);
    return Error::from_errno(-error, reason.empty() ? "netlink" : "netlink: " + reason);
}

}  // namespace

void NetlinkRequest::append(std::span<const std::byte> bytes) {
    body_.insert(body_.end(), bytes.begin(), bytes.end());
    body_.resize(aligned(body_.size()));
}

void NetlinkRequest::put(std::uint16_t attribute, std::span<const std::byte> value) {
    const nlattr header{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + value.size()),
                        .nla_type = attribute};
    append(std::as_bytes(std::span(&header, 1)));
    append(value);
}

void NetlinkRequest::put_text(std::uint16_t attribute, std::string_view text) {
    const std::string with_zero(text);
    put(attribute, std::as_bytes(std::span(with_zero.c_str(), with_zero.size() + 1)));
}

void NetlinkRequest::nest(std::uint16_t attribute, const std::function<void()>& fill) {
    const std::size_t start = body_.size();
    put(attribute, std::span<const std::byte>());
    fill();
    const auto size = static_cast<std::uint16_t>(body_.size() - start);
    std::memcpy(body_.data() + start, &size, sizeof(size));
}

NetlinkAttributes::NetlinkAttributes(std::span<const std::byte> bytes) {
    while (bytes.size() >= sizeof(nlattr)) {
        nlattr header{};
        std::memcpy(&header, bytes.data(), sizeof(header));
        if (header.nla_len < sizeof(header) || header.nla_len > bytes.size()) {
            return;
        }
        attributes_.push_back(
            {.type = static_cast<std::uint16_t>(header.nla_type & NLA_TYPE_MASK),
             .value = bytes.subspan(sizeof(header), header.nla_len - sizeof(header))});
        bytes = bytes.subspan(std::min(aligned(header.nla_len), bytes.size()));
    }
}

std::optional<std::span<const std::byte>> NetlinkAttributes::find(std::uint16_t attribute) const {
    const auto reversed = std::views::reverse(attributes_);
    const auto found = std::ranges::find(reversed, attribute, &Attribute::type);
    if (found == reversed.end()) {
        return std::nullopt;
    }
    return found->value;
}

std::string NetlinkAttributes::bytes(std::uint16_t attribute) const {
    const auto value = find(attribute).value_or(std::span<const std::byte>());
    // SAFETY: bytes as characters.
    return {reinterpret_cast<const char*>(value.data()), value.size()};
}

std::string NetlinkAttributes::text(std::uint16_t attribute) const {
    std::string text = bytes(attribute);
    text.resize(std::min(text.find('\0'), text.size()));
    return text;
}

Result<Netlink> Netlink::open(std::uint32_t groups) {
    Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!socket) {
        return Error::from_errno(errno, "netlink socket");
    }
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = groups;
    // SAFETY: the address of a family as sockaddr, as bind(2) wants it.
    if (::bind(socket.ref().number(), reinterpret_cast<const sockaddr*>(&address),
               sizeof(address)) != 0) {
        return Error::from_errno(errno, "bind a netlink socket");
    }
    const int on = 1;
    // Words for errors, which older kernels do not have.
    (void)::setsockopt(socket.ref().number(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    (void)::setsockopt(socket.ref().number(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    return Netlink(std::move(socket));
}

Result<void> Netlink::send(const NetlinkRequest& request, std::uint16_t flags) {
    const nlmsghdr header{
        .nlmsg_len = static_cast<std::uint32_t>(sizeof(nlmsghdr) + request.body().size()),
        .nlmsg_type = request.type(),
        .nlmsg_flags = static_cast<std::uint16_t>(request.flags() | NLM_F_REQUEST | flags),
        .nlmsg_seq = ++sequence_,
        .nlmsg_pid = 0};
    std::vector<std::byte> message(sizeof(header));
    std::memcpy(message.data(), &header, sizeof(header));
    message.insert(message.end(), request.body().begin(), request.body().end());
    if (::send(socket_.ref().number(), message.data(), message.size(), 0) < 0) {
        return Error::from_errno(errno, "netlink");
    }
    return {};
}

Result<std::size_t> Netlink::receive(int flags) {
    buffer_.resize(kBufferSize);
    ssize_t got = 0;
    do {
        got = ::recv(socket_.ref().number(), buffer_.data(), buffer_.size(), flags | MSG_TRUNC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return Error::from_errno(errno, "netlink");
    }
    if (static_cast<std::size_t>(got) > buffer_.size()) {
        return Error(Code::DataLoss, "netlink: a message of " + std::to_string(got) + " bytes");
    }
    return static_cast<std::size_t>(got);
}

/// One datagram: some messages of a dump, or an answer. What belongs to no request of ours, with
/// `sequence` 0 what belongs to one, is left out.
Result<Netlink::Round> Netlink::take(const OnMessage& on_message, std::uint32_t sequence) {
    const std::size_t size = TRY(receive(sequence == 0 ? MSG_DONTWAIT : 0));
    auto rest = std::span<const std::byte>(buffer_).first(size);
    Round round;
    while (rest.size() >= sizeof(nlmsghdr)) {
        nlmsghdr header{};
        std::memcpy(&header, rest.data(), sizeof(header));
        if (header.nlmsg_len < sizeof(header) || header.nlmsg_len > rest.size()) {
            return Error(Code::DataLoss, "netlink: a message is cut");
        }
        const auto body = rest.subspan(sizeof(header), header.nlmsg_len - sizeof(header));
        rest = rest.subspan(std::min(aligned(header.nlmsg_len), rest.size()));
        if (sequence != 0 && header.nlmsg_seq != sequence) {
            continue;
        }
        round.was_interrupted |= (header.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE) {
            TRY(outcome_of(body, header.nlmsg_flags));
            round.is_done = true;
            return round;
        }
        on_message(NetlinkMessage(header.nlmsg_type, body));
    }
    return round;
}

Result<void> Netlink::execute(const NetlinkRequest& request) {
    TRY(send(request, NLM_F_ACK));
    while (!TRY(take([](const NetlinkMessage&) {}, sequence_)).is_done) {}
    return {};
}

Result<void> Netlink::dump(const NetlinkRequest& request, const std::function<void()>& begin,
                           const OnMessage& on_message) {
    for (int i = 0; i < kRoundsMax; ++i) {
        begin();
        TRY(send(request, NLM_F_DUMP));
        bool was_interrupted = false;
        for (Round round; !round.is_done;) {
            round = TRY(take(on_message, sequence_));
            was_interrupted |= round.was_interrupted;
        }
        if (!was_interrupted) {
            return {};
        }
    }
    return Error(Code::Aborted, "netlink: what is listed keeps changing");
}

Result<void> Netlink::drain(const OnMessage& on_message) {
    while (true) {
        const Result<Round> round = take(on_message, 0);
        if (!round) {
            return round.error().sys_errno() == EAGAIN
                       ? Result<void>()
                       : Error(round.error().code(), round.error().message());
        }
    }
}

}  // namespace pepita
