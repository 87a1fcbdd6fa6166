#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// File I/O that does not wait: an io_uring. The one door to liburing.
///
/// Operations are queued, go to the kernel at submit(), and come back through reap(), in any order.
/// Between, the kernel writes to the caller's memory; so the destructor waits until it is done.
///
/// Thread: one at a time. Whoever submits has to reap, or to wait in some system call now and then:
/// the kernel finishes our operations in the context of the thread that submitted them.
class IoRing {
public:
    /// What submit and reap hand back: bytes moved, or a negative errno.
    struct Completion {
        std::uint64_t tag;
        std::int32_t result;
    };

    /// `entries` operations at most are queued or in flight, 1 to 4096.
    /// Errors: Unsupported or PermissionDenied, and a message that says so, where this kernel has
    /// no io_uring or does not let us use it (kernel.io_uring_disabled, a system call filter).
    static Result<IoRing> create(std::uint32_t entries);
    IoRing(IoRing&&) noexcept;
    IoRing& operator=(IoRing&&) noexcept;
    IoRing(const IoRing&) = delete;
    IoRing& operator=(const IoRing&) = delete;
    ~IoRing();

    // Each gives false, and queues nothing, where `entries` operations are under way already.
    // `file` stays open, and the iovecs with what they point to stay valid, until the operation
    // came back.
    bool readv(FdRef file, std::span<const iovec> into, std::uint64_t offset, std::uint64_t tag);
    bool writev(FdRef file, std::span<const iovec> from, std::uint64_t offset, std::uint64_t tag);
    bool fsync(FdRef file, std::uint64_t tag);
    bool fdatasync(FdRef file, std::uint64_t tag);
    /// Comes back with result 0 and does nothing else.
    bool nop(std::uint64_t tag);

    /// Hands what is queued to the kernel; several operations cost one system call. What the kernel
    /// cannot take for the moment stays queued, for the next submit().
    /// Errors: io_uring_enter(2)'s.
    Result<void> submit();

    /// Calls `on_complete` for each operation that has come back; it may queue new ones.
    /// Gives the count. Never waits.
    std::size_t reap(const std::function<void(const Completion&)>& on_complete);

    /// submit(), then waits until reap() would find something. At once where nothing is under way.
    Result<void> wait();

    /// Operations queued or in flight.
    std::uint32_t under_way() const;

    /// Readable (EPOLLIN) while reap() would find something.
    FdRef fd() const;

private:
    struct State;
    explicit IoRing(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace pepita
