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
    TRY(send_some(socket, std::as_bytes(std::span(&wire, 1)),
                  passed ? std::span<const FdRef>(&*passed, 1) : std::span<const FdRef>()));
    return {};
}

Result<std::optional<ControlMessage>> receive_control(FdRef socket) {
    Wire wire;
    Result<Received> received = receive_some(socket, std::as_writable_bytes(std::span(&wire, 1)));
    while (!received && received.error().sys_errno() == EINTR) {
        received = receive_some(socket, std::as_writable_bytes(std::span(&wire, 1)));
    }
    if (!received && received.error().sys_errno() == ECONNRESET) {
        return std::optional<ControlMessage>();
    }
    Received got = TRY(std::move(received));
    if (got.size == 0) {
        return std::optional<ControlMessage>();
    }
    if (got.size != sizeof(wire)) {
        return Error(Code::DataLoss, "a control message of " + std::to_string(got.size) + " B");
    }
    wire.words.back() = '\0';
    ControlMessage message{.kind = static_cast<ControlMessage::Kind>(wire.kind),
                           .value = wire.value,
                           .words = wire.words.data(),
                           .fd = {}};
    if (!got.fds.empty()) {
        message.fd = std::move(got.fds.front());
    }
    return std::optional(std::move(message));
}

Error error_of(const ControlMessage& message) {
    return {static_cast<Code>(message.value), message.words};
}

}  // namespace pepita::runtime::container
