#pragma once

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
        Claimed,     // child: the directory on the scratch disk is new, and so this container's
        Working,     // child: a hook runs still
        Id,          // child: `value` is its user's uid, then gid, then one of the groups
        Ready,       // child: all is set up; `fd` is the terminal's master, where there is one
        Failed,      // child: `words` say what, `value` is the Code
        ExecFailed,  // child: `value` is the errno of execve(2), or of the search for a program
        Mapped,      // parent: the ids of the user namespace are mapped
        Start,       // parent: go on to execve(2)
    };
    Kind kind = Kind::Closed;
    std::uint32_t value = 0;
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::string words = {};
    std::optional<Fd> fd = {};
    // NOLINTEND(readability-redundant-member-init)
};

/// No step of a child takes longer, unless it waits for something that the container has put in
/// its way (a FUSE of its own, say).
inline constexpr std::chrono::seconds kControlDeadline{30};

struct ControlPair {
    Fd parent;
    Fd child;
};
Result<ControlPair> control_pair();

/// Waits until it is sent. Errors: Unavailable where the other side is gone.
Result<void> send_control(FdRef socket, const ControlMessage& message);

/// The next message; waits for it where there is none yet.
/// Errors: DataLoss for what is no message.
Result<ControlMessage> receive_control(FdRef socket);

/// The Failed message for an error, without its errno, and the Error that one carries.
ControlMessage failed(const Error& error);
Error error_of(const ControlMessage& message);

}  // namespace pepita::runtime::container
