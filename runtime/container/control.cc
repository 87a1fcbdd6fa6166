#include "runtime/container/control.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"

namespace pepita::runtime::container {
namespace {

constexpr std::size_t kWordsMax = 1024;

struct Wire {
    std::uint32_t kind = 0;
    std::uint32_t value = 0;
    std::array<char, kWordsMax> words{};
};

bool is_code(std::uint32_t value) {
    constexpr auto cancelled = std::to_underlying(Code::Cancelled);
    constexpr auto invalid_argument = std::to_underlying(Code::InvalidArgument);
    constexpr auto data_loss = std::to_underlying(Code::DataLoss);
    return value == cancelled || (value >= invalid_argument && value <= data_loss);
}

// A process that a container has got hold of may send anything.
Result<void> check(const Wire& wire) {
    const auto kind = static_cast<ControlMessage::Kind>(wire.kind);
    const bool is_known = wire.kind > std::to_underlying(ControlMessage::Kind::Closed) &&
                          wire.kind <= std::to_underlying(ControlMessage::Kind::Start);
    if (!is_known || (kind == ControlMessage::Kind::Failed && !is_code(wire.value))) {
        return Error(Code::DataLoss, "a control message of no known kind");
    }
    return {};
}

void take_beside(msghdr& header, ControlMessage& message) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
         part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET) {
            continue;
        }
        if (part->cmsg_type == SCM_RIGHTS && part->cmsg_len == CMSG_LEN(sizeof(int))) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(part), sizeof(number));
            message.fd = Fd(number);
        }
    }
}

}  // namespace

Result<ControlPair> control_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        return Error::from_errno(errno, "socketpair");
    }
    return ControlPair{.parent = Fd(ends[0]), .child = Fd(ends[1])};
}

Result<void> send_control(FdRef socket, const ControlMessage& message) {
    Wire wire{
        .kind = static_cast<std::uint32_t>(message.kind), .value = message.value, .words = {}};
    std::memcpy(wire.words.data(), message.words.data(),
                std::min(message.words.size(), kWordsMax - 1));
    std::optional<FdRef> passed;
    if (message.fd) {
        passed = message.fd->ref();
    }
    (void)TRY(send_some(socket, std::as_bytes(std::span(&wire, 1)),
                        passed ? std::span<const FdRef>(&*passed, 1) : std::span<const FdRef>()));
    return {};
}

Result<ControlMessage> receive_control(FdRef socket) {
    Wire wire;
    iovec part{.iov_base = &wire, .iov_len = sizeof(wire)};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> beside{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = beside.data();
    header.msg_controllen = beside.size();
    ssize_t got = -1;
    do {
        got = ::recvmsg(socket.number(), &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno == ECONNRESET)) {
        return ControlMessage();
    }
    if (got < 0) {
        return Error::from_errno(errno, "receive from the process");
    }
    ControlMessage message;
    take_beside(header, message);
    if (static_cast<std::size_t>(got) != sizeof(wire)) {
        return Error(Code::DataLoss, "a control message of " + std::to_string(got) + " B");
    }
    TRY(check(wire));
    wire.words.back() = '\0';
    message.kind = static_cast<ControlMessage::Kind>(wire.kind);
    message.value = wire.value;
    message.words = wire.words.data();
    return message;
}

ControlMessage failed(const Error& error) {
    return {.kind = ControlMessage::Kind::Failed,
            .value = static_cast<std::uint32_t>(error.code()),
            .words = error.message()};
}

Error error_of(const ControlMessage& message) {
    return {static_cast<Code>(message.value), message.words};
}

}  // namespace pepita::runtime::container
