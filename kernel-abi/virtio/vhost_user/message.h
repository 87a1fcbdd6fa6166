#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"

namespace pepita::virtio {

/// One message of a vhost-user front end: what it claims, checked for nothing but its size.
struct VhostUserMessage {
    abi::VhostUserRequest request{};
    std::uint32_t flags = 0;
    std::vector<std::byte> payload;
    std::vector<Fd> fds;

    bool needs_reply() const { return (flags & abi::kVhostUserNeedReply) != 0; }

    /// The payload, which must be one T and nothing else. Errors: InvalidArgument.
    template <typename T>
    Result<T> as() const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (payload.size() != sizeof(T)) {
            return wrong_size(sizeof(T));
        }
        T value;
        std::memcpy(&value, payload.data(), sizeof(T));
        return value;
    }

    /// The payload's head; the rest of it follows in `payload`. Errors: InvalidArgument.
    template <typename T>
    Result<T> head_as() const {
        static_assert(std::is_trivially_copyable_v<T>);
        if (payload.size() < sizeof(T)) {
            return wrong_size(sizeof(T));
        }
        T value;
        std::memcpy(&value, payload.data(), sizeof(T));
        return value;
    }

private:
    Error wrong_size(std::size_t expected) const;
};

/// "SET_MEM_TABLE", or the number where there is no such request.
std::string name_of(abi::VhostUserRequest request);

/// Takes messages off a stream socket that never makes us wait.
class VhostUserReader {
public:
    static constexpr std::size_t kPayloadMax =
        sizeof(abi::VhostUserConfigHeader) + abi::kVhostUserConfigMax;
    static_assert(kPayloadMax >=
                  sizeof(abi::VhostUserMemoryHeader) +
                      abi::kVhostUserRegionsMax * sizeof(abi::VhostUserMemoryRegion));

    /// The next whole message; none where the rest of it is still to come.
    /// Errors: Unavailable at the end of the stream; InvalidArgument for what is no message.
    Result<std::optional<VhostUserMessage>> next(FdRef socket);

private:
    Result<bool> fill(FdRef socket, std::size_t size);

    std::array<std::byte, sizeof(abi::VhostUserHeader) + kPayloadMax> bytes_{};
    std::size_t filled_ = 0;
    std::vector<Fd> fds_;
};

/// Sends a message with the flags of a reply. Errors: send(2)'s; Unavailable where the front end
/// does not take its replies.
Result<void> send_reply(FdRef socket, abi::VhostUserRequest request,
                        std::span<const std::byte> payload, std::span<const FdRef> fds = {});

/// Asks something of the front end that has no payload and wants no answer. Errors: send(2)'s.
Result<void> send_backend_request(FdRef channel, abi::VhostUserBackendRequest request);

}  // namespace pepita::virtio
