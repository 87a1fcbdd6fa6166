#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "test/support/driver.h"

namespace pepita::test {

/// A vhost-user front end: says what a test has it say, right or wrong.
class VhostUserFront {
public:
    /// Where this front end has its guest's address 0, to catch whoever mixes the two up.
    static constexpr std::uint64_t kUserBase = 0x7f00'0000'0000;

    /// `loop` is the back end's; it is borrowed, and run whenever the back end has to act.
    VhostUserFront(EventLoop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}

    void send(abi::VhostUserRequest request, std::span<const std::byte> payload,
              std::span<const FdRef> fds = {}, std::uint32_t flags = abi::kVhostUserVersion);
    template <typename T>
    void send(abi::VhostUserRequest request, const T& payload, std::span<const FdRef> fds = {},
              std::uint32_t flags = abi::kVhostUserVersion) {
        static_assert(std::is_trivially_copyable_v<T>);
        send(request, std::as_bytes(std::span(&payload, 1)), fds, flags);
    }
    void send_bytes(std::span<const std::byte> bytes, std::span<const FdRef> fds = {});

    struct Reply {
        abi::VhostUserHeader header{};
        std::vector<std::byte> payload;
        std::vector<Fd> fds;

        template <typename T>
        T as() const {
            T value{};
            if (payload.size() == sizeof(T)) {
                std::memcpy(&value, payload.data(), sizeof(T));
            }
            return value;
        }
    };
    /// What the back end said; nothing where it kept quiet.
    std::optional<Reply> receive();
    /// The same from a back end on a thread of its own: waits for it. Nothing at the stream's end.
    std::optional<Reply> await();
    std::uint64_t ask_u64(abi::VhostUserRequest request);

    /// All of `ram` as one region.
    void share(const GuestRam& ram);
    static abi::VhostUserVringAddr addresses_of(const QueueDriver& queue, std::uint32_t index);

    struct QueueFds {
        Fd kick;
        Fd call;
    };
    /// Everything that starts a queue, in QEMU's order.
    QueueFds start_queue(const QueueDriver& queue, std::uint32_t index);
    /// The available index that the back end stopped at.
    std::uint32_t stop_queue(std::uint32_t index);

    void run();
    void hang_up() { socket_ = Fd(); }

private:
    EventLoop& loop_;
    Fd socket_;
};

Fd make_eventfd();
void signal_eventfd(const Fd& eventfd);
/// Waits until another thread signals it; a test that nobody signals ends here.
void await_eventfd(const Fd& eventfd);
/// How often it was signalled since the last call.
std::uint64_t drain_eventfd(const Fd& eventfd);

}  // namespace pepita::test
