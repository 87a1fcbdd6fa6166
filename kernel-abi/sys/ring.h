#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

/// A place in a ring's table of registered files; the kernel need not look the descriptor up.
enum class RegisteredFile : std::uint32_t {};
/// A place in a ring's table of registered buffers; the kernel need not pin their pages again.
enum class RegisteredBuffer : std::uint16_t {};

/// I/O that does not wait: an io_uring. The one door to liburing.
///
/// Operations are queued, go to the kernel at submit(), and come back through reap(), in any order.
/// Between, the kernel writes to the caller's memory; so the destructor waits until it is done. In
/// a ring that was asked for a poll, an accept or a timeout it first ends what else could take for
/// ever.
///
/// Thread: one at a time. Whoever submits has to reap, or to wait in some system call now and then:
/// the kernel finishes our operations in the context of the thread that submitted them.
class IoRing {
public:
    /// What submit and reap hand back: bytes moved, or a negative errno.
    struct Completion {
        std::uint64_t tag = 0;
        std::int32_t result = 0;
        bool more = false;  // a multishot goes on; without it, that was its last
        /// What the kernel wrote to a buffer it took of provide_buffers(); until reap() goes on.
        std::span<const std::byte> bytes;
    };

    enum class EntrySize : std::uint8_t { Bytes64, Bytes128 };
    /// One: only the thread that creates the ring ever uses it, and it waits in wait(): an event
    /// loop that watches fd() sleeps on. Cheaper, where the kernel knows of it (Linux 6.1).
    enum class Issuer : std::uint8_t { Any, One };
    enum class Write : std::uint8_t { Cached, Synced };

    /// Operations that a ring can be restricted to.
    enum class Operation : std::uint8_t { Nop, Readv, Writev, Fsync, Fallocate };

    struct Options {
        std::uint32_t entries = 0;  // operations at most that are queued or in flight, 1 to 8192
        EntrySize entry_size = EntrySize::Bytes64;
        Issuer issuer = Issuer::Any;
        /// The kernel refuses every other operation of this ring, every flag of an operation and
        /// every registration with EACCES, for good. A seccomp filter does not see what a ring
        /// does, so a process with a filter restricts its rings. Empty: no restriction.
        // NOLINTNEXTLINE(readability-redundant-member-init): designated initializers may omit it.
        std::span<const Operation> only = {};
    };

    /// What an operation works on: a descriptor, or one that was registered.
    class File {
    public:
        // NOLINTNEXTLINE(google-explicit-constructor): callers pass either.
        constexpr File(FdRef fd) : number_(fd.number()) {}
        // NOLINTNEXTLINE(google-explicit-constructor)
        constexpr File(RegisteredFile file)
            : number_(static_cast<int>(file)), is_registered_(true) {}
        constexpr int number() const { return number_; }
        constexpr bool is_registered() const { return is_registered_; }

    private:
        int number_;
        bool is_registered_ = false;
    };

    /// Errors: InvalidArgument where there are to be no entries or too many; Unsupported or
    /// PermissionDenied, and a message that says so, where this kernel has no io_uring or does not
    /// let us use it (kernel.io_uring_disabled, a system call filter).
    static Result<IoRing> create(const Options& options);
    static Result<IoRing> create(std::uint32_t entries) { return create({.entries = entries}); }
    IoRing(IoRing&&) noexcept;
    IoRing& operator=(IoRing&&) noexcept;
    IoRing(const IoRing&) = delete;
    IoRing& operator=(const IoRing&) = delete;
    ~IoRing();

    // Each gives false, and queues nothing, where `entries` operations are under way already.
    // `file` stays open, and the memory (the iovecs too) stays valid, until the operation came
    // back.
    bool readv(File file, std::span<const iovec> into, std::uint64_t offset, std::uint64_t tag);
    bool writev(File file, std::span<const iovec> from, std::uint64_t offset, std::uint64_t tag);
    /// `into` lies within the registered buffer; so does `from`. Memory that a driver registered
    /// begins at address 0. Synced: done when it is on stable storage.
    bool read_into(RegisteredBuffer buffer, std::span<std::byte> into, File file,
                   std::uint64_t offset, std::uint64_t tag);
    bool write_from(RegisteredBuffer buffer, std::span<const std::byte> from, File file,
                    std::uint64_t offset, std::uint64_t tag, Write how = Write::Cached);
    bool fsync(File file, std::uint64_t tag);
    bool fdatasync(File file, std::uint64_t tag);
    /// fallocate(2).
    bool fallocate(File file, int mode, std::uint64_t offset, std::uint64_t length,
                   std::uint64_t tag);
    /// Comes back with result 0 and does nothing else.
    bool nop(std::uint64_t tag);
    /// Comes back once, with the poll(2) events that `file` has.
    bool poll(File file, std::uint32_t events, std::uint64_t tag);
    /// Comes back each time that `file` gets any of `events`, until one comes without `more`.
    bool poll_multishot(File file, std::uint32_t events, std::uint64_t tag);
    /// Comes back with the number of a new descriptor (O_CLOEXEC), which is the caller's.
    bool accept(File listener, std::uint64_t tag);
    /// One for each client, until one comes without `more`.
    bool accept_multishot(File listener, std::uint64_t tag);
    /// Comes back after `time` with -ETIME.
    bool timeout(std::chrono::nanoseconds time, std::uint64_t tag);
    /// The operation queued just before, which is not submitted yet, comes back with -ECANCELED
    /// where it takes longer than `time`. This one comes back too: -ETIME, or -ECANCELED where the
    /// other was done in time.
    bool limit_previous(std::chrono::nanoseconds time, std::uint64_t tag);
    /// Ends the operation that has `tag_of_other`. Gives 0, or -ENOENT where there is none.
    bool cancel(std::uint64_t tag_of_other, std::uint64_t tag);
    /// IORING_OP_URING_CMD: what a driver understands by `operation`. `payload` is copied: 16 bytes
    /// at most, 80 in a ring of 128-byte entries. `address`: what a driver looks for there.
    bool command(File file, std::uint32_t operation, std::span<const std::byte> payload,
                 std::uint64_t tag, std::uint64_t address = 0);

    /// The same command, which comes back with bytes in a provided buffer each time that the driver
    /// has some, until one comes without `more`: -ENOBUFS where no buffer was free.
    bool command_multishot(File file, std::uint32_t operation, std::span<const std::byte> payload,
                           std::uint64_t tag);

    /// Registers descriptors as RegisteredFile 0, 1, …; the ring keeps the files open. Once.
    /// Errors: io_uring_register(2)'s.
    Result<void> register_files(std::span<const FdRef> files);
    /// Puts another in the place of one. What is under way keeps the old one.
    Result<void> replace_file(RegisteredFile file, FdRef by);
    /// Registers memory as RegisteredBuffer 0, 1, …, which pins it. Once, and it stays mapped as
    /// long as the ring is. Errors: ENOMEM where it is beyond RLIMIT_MEMLOCK.
    Result<void> register_buffers(std::span<const std::span<std::byte>> buffers);
    /// RegisteredBuffer 0 to count - 1, which drivers fill. Once, instead of register_buffers().
    /// Errors: InvalidArgument before Linux 5.19.
    Result<void> reserve_buffers(std::uint32_t count);
    /// Buffers for command_multishot(), in memory of the ring's; `count` is a power of two. Once.
    /// Errors: InvalidArgument before Linux 5.19.
    Result<void> provide_buffers(std::uint16_t count, Bytes size);

    /// Hands what is queued to the kernel; several operations cost one system call. What the kernel
    /// cannot take for the moment stays queued, for the next submit().
    /// Errors: io_uring_enter(2)'s.
    Result<void> submit();

    /// Calls `on_complete` for each operation that has come back; it may queue new ones.
    /// Gives the count. Never waits.
    std::size_t reap(const std::function<void(const Completion&)>& on_complete);

    /// submit(), then waits until reap() would find something; one system call for both. At once
    /// where nothing is under way.
    Result<void> wait();
    /// The same, and ends after `limit` at the latest.
    Result<void> wait_for(std::chrono::nanoseconds limit);

    /// Closes the ring and does not wait: for commands that end in no other way. The caller knows
    /// that nothing in flight will write to memory that goes. Nothing else may be called then.
    void abandon();

    /// Operations queued or in flight. A multishot is one.
    std::uint32_t under_way() const;

    /// Readable (EPOLLIN) while reap() would find something.
    FdRef fd() const;

private:
    struct State;
    bool queue_command(File file, std::uint32_t operation, std::span<const std::byte> payload);
    static Result<void> open(State& state, const Options& options);
    explicit IoRing(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace pepita
