#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/virtio/device.h"

namespace pepita::vmm {

/// The guest's memory as servers of devices get it: a file, and where the guest and this process
/// have its parts.
struct LentMemory {
    FdRef file;
    std::vector<abi::VhostUserMemoryRegion> regions;
};

/// The front end's side of vhost-user: lends a guest's memory and queues to a server, which serves
/// a device to the guest. What the server says is checked: it may be taken over by its guest.
///
/// A call that has an answer waits for it, at most kAnswerDeadline. After an error the connection
/// is of no use.
/// Thread: that of the device's loop. Source: QEMU docs/interop/vhost-user.rst.
class VhostUserFrontEnd {
public:
    /// `socket` is connected and non-blocking. `memory` outlives this. Asks the server for its
    /// features.
    /// Errors: Unsupported for a server without VIRTIO_F_VERSION_1, without both ring features that
    /// a transport offers, or without protocol features; what breaks the protocol.
    static Result<VhostUserFrontEnd> create(Fd socket, const LentMemory& memory);

    FdRef socket() const { return socket_.ref(); }

    /// What a driver agreed to, and the guest's memory.
    Result<void> start(std::uint64_t features);

    struct Eventfds {
        FdRef kick;  // signalled by us: the driver made buffers available
        FdRef call;  // by the server: buffers are used
    };
    /// Errors: QueueSetup::open()'s for a geometry that is none; send(2)'s.
    Result<void> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup,
                             const Eventfds& eventfds);

    /// The server lets the queue go. Returns the available index that it stopped at.
    Result<std::uint16_t> stop_queue(std::uint16_t queue);

private:
    VhostUserFrontEnd(Fd socket, const LentMemory& memory)
        : socket_(std::move(socket)), memory_(&memory) {}
    Result<void> greet();
    Result<void> send(abi::VhostUserRequest request, std::span<const std::byte> payload,
                      std::span<const FdRef> fds = {});
    template <typename T>
    Result<void> send(abi::VhostUserRequest request, const T& payload,
                      std::span<const FdRef> fds = {}) {
        static_assert(std::is_trivially_copyable_v<T>);
        return send(request, std::as_bytes(std::span(&payload, 1)), fds);
    }
    Result<void> receive(abi::VhostUserRequest request, std::span<std::byte> payload);
    Result<void> fill(std::span<std::byte> into);
    Result<std::uint64_t> ask(abi::VhostUserRequest request);

    Fd socket_;
    const LentMemory* memory_;
};

}  // namespace pepita::vmm
