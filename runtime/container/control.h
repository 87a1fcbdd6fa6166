#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

/// What parent and child say to each other over a SOCK_SEQPACKET pair while the child becomes a
/// process of the container. The child's end closes with execve(2): silence is success.
struct ControlMessage {
    enum class Kind : std::uint32_t {
        Closed,      // sent by nobody: the other end was closed, and nothing more comes
        Ready,       // child: all is set up; `fd` is the terminal's master, where there is one
        Failed,      // child: `words` say what, `value` is the Code
        ExecFailed,  // child: `value` is the errno of execve(2)
        Joined,      // child of exec: this is the process that becomes the program
        Start,       // parent: go on to execve(2)
    };
    Kind kind = Kind::Closed;
    std::uint32_t value = 0;
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::string words = {};
    std::optional<Fd> fd = {};
    // NOLINTEND(readability-redundant-member-init)
    pid_t sender = 0;  // in what the parent receives: the sender's pid as the kernel says it
};

/// No step of a child takes longer, unless it waits for something that the container has put in
/// its way (a FUSE of its own, say).
inline constexpr std::chrono::seconds kControlDeadline{30};

/// The parent's end is told who sends, in the parent's own pid namespace.
struct ControlPair {
    Fd parent;
    Fd child;
};
Result<ControlPair> control_pair();

/// Waits until it is sent. Errors: Unavailable where the other side is gone.
Result<void> send_control(FdRef socket, const ControlMessage& message);

/// Waits for the next message.
/// Errors: DeadlineExceeded after `limit`, where there is one.
Result<ControlMessage> receive_control(FdRef socket,
                                       std::optional<std::chrono::seconds> limit = {});

/// The Failed message for an error, without its errno, and the Error that one carries.
ControlMessage failed(const Error& error);
Error error_of(const ControlMessage& message);

}  // namespace pepita::runtime::container
