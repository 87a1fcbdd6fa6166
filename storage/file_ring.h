#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"

namespace pepita::storage {

/// The io_uring of one thread, which any number of FileDevices share.
///
/// It is restricted to what a FileDevice does (IoRing::Options::only). Operations beyond its
/// entries wait here, in the order in which they were asked for, so that no device keeps the ring
/// to itself.
///
/// Thread: that of the loop.
class FileRing {
public:
    static constexpr std::uint32_t kEntries = 256;

    /// A device with operations in the ring.
    class User {
    public:
        User() = default;
        User(const User&) = delete;
        User& operator=(const User&) = delete;
        User(User&&) = delete;
        User& operator=(User&&) = delete;
        virtual ~User() = default;

        /// Queues the operation of `slot` in `ring`, which has room, with `tag`.
        virtual void put(IoRing& ring, std::uint32_t slot, std::uint64_t tag) = 0;
        /// The operation of `slot` came back. Calls no listener: it may come while another device
        /// waits for its own.
        virtual void on_operation(std::uint32_t slot, std::int32_t result) = 0;
        /// Some operations came back; now is the time to call listeners.
        virtual void on_turn() = 0;
    };
    enum class UserId : std::uint32_t {};

    /// `loop` outlives the ring. Errors: IoRing::create()'s.
    static Result<std::unique_ptr<FileRing>> create(EventLoop& loop);
    FileRing(const FileRing&) = delete;
    FileRing& operator=(const FileRing&) = delete;
    FileRing(FileRing&&) = delete;
    FileRing& operator=(FileRing&&) = delete;
    /// All users were removed before.
    ~FileRing();

    /// `user` is borrowed until remove().
    UserId add(User& user);
    /// Waits for the user's operations that the kernel has; drops those that wait here.
    void remove(UserId id);

    /// Queues an operation by User::put(), now or when there is room.
    void queue(UserId id, std::uint32_t slot);
    void submit();
    /// Takes what has come back, of all users, without waiting. The turn of `id` is now; the
    /// others' comes from the loop.
    void reap(UserId id);
    /// Submits, and waits until something comes back.
    void wait();
    /// The user's operations that are queued or in flight.
    std::uint32_t under_way(UserId id) const;

    /// The descriptor of the io_uring.
    FdRef fd() const { return ring_.fd(); }

private:
    struct Place {
        User* user = nullptr;  // null: free, or being removed
        std::uint32_t waiting = 0;
        std::uint32_t in_ring = 0;
        bool has_news = false;
    };
    struct Waiting {
        UserId id;
        std::uint32_t slot;
    };

    FileRing(EventLoop& loop, IoRing ring);
    Place& place(UserId id);
    const Place& place(UserId id) const;
    void put(UserId id, std::uint32_t slot);
    void take_completions();
    void give_turns();

    EventLoop& loop_;
    IoRing ring_;
    EventLoop::Watch watch_;
    EventLoop::Timer next_turn_;
    std::vector<Place> places_;  // by UserId
    std::deque<Waiting> waiting_;
};

}  // namespace pepita::storage
