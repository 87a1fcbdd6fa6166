#pragma once

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
        Ready = 1,   // child: all is set up; `fd` is the terminal's master, where there is one
        Failed,      // child: `words` say what, `value` is the Code
        ExecFailed,  // child: `value` is the errno of execve(2)
        Spawned,     // child: `value` is the pid of the process that takes its place
        Start,       // parent: go on to execve(2)
    };
    Kind kind = Kind::Ready;
    std::uint32_t value = 0;
    std::string words;
    std::optional<Fd> fd;
};

struct ControlPair {
    Fd parent;
    Fd child;
};
Result<ControlPair> control_pair();

/// Waits until it is sent. Errors: Unavailable where the other side is gone.
Result<void> send_control(FdRef socket, const ControlMessage& message);

/// Waits for the next message; nothing where the other end was closed.
Result<std::optional<ControlMessage>> receive_control(FdRef socket);

/// The Error that a Failed message carries.
Error error_of(const ControlMessage& message);

}  // namespace pepita::runtime::container
