#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "test/support/driver.h"
#include "vmm/vhost_user/front_end.h"

namespace pepita::test {

/// A vhost-user server whose answers a test gives before they are asked for.
class FakeVhostUserServer {
public:
    static constexpr std::uint64_t kFeatures = abi::kVirtioFVersion1 | abi::kVirtioFIndirectDesc |
                                               abi::kVirtioFEventIdx |
                                               abi::kVhostUserFProtocolFeatures;

    FakeVhostUserServer() { std::tie(ours_, theirs_) = *socket_pair(); }

    Fd take_front_end() { return std::move(theirs_); }

    void say(abi::VhostUserHeader header, std::span<const std::byte> payload) const {
        std::vector<std::byte> bytes(sizeof(header) + payload.size());
        std::memcpy(bytes.data(), &header, sizeof(header));
        std::ranges::copy(payload, bytes.begin() + sizeof(header));
        EXPECT_EQ(*send_some(ours_.ref(), bytes), bytes.size());
    }
    template <typename T>
    void answer(abi::VhostUserRequest request, const T& payload) const {
        static_assert(std::is_trivially_copyable_v<T>);
        say({.request = std::to_underlying(request),
             .flags = abi::kVhostUserVersion | abi::kVhostUserReply,
             .size = sizeof(payload)},
            std::as_bytes(std::span(&payload, 1)));
    }
    void greet(std::uint64_t features = kFeatures) const {
        answer(abi::VhostUserRequest::GetFeatures, features);
        answer(abi::VhostUserRequest::GetProtocolFeatures, std::uint64_t{0});
    }
    void hang_up() { ours_ = Fd(); }

    struct Heard {
        abi::VhostUserRequest request{};
        std::vector<std::byte> payload;
        std::size_t fds = 0;
    };
    /// All that the front end has said since the last call.
    std::vector<Heard> hear() const {
        std::vector<Heard> all;
        abi::VhostUserHeader header{};
        while (true) {
            const auto head =
                receive_some(ours_.ref(), std::as_writable_bytes(std::span(&header, 1)));
            if (!head || head->size != sizeof(header)) {
                return all;
            }
            Heard& heard = all.emplace_back();
            heard.request = abi::VhostUserRequest{header.request};
            heard.payload.resize(header.size);
            heard.fds = head->fds.size();
            if (header.size != 0) {
                EXPECT_EQ(receive_some(ours_.ref(), heard.payload)->size, header.size);
            }
        }
    }

private:
    Fd ours_;
    Fd theirs_;
};

/// `ram` as a machine lends it.
inline vmm::LentMemory lend(const GuestRam& ram) {
    return {.file = ram.fd(),
            .regions = {{.guest_address = 0,
                         .size = ram.bytes().size(),
                         // SAFETY: a number.
                         .user_address = reinterpret_cast<std::uint64_t>(ram.bytes().data()),
                         .file_offset = 0}}};
}

}  // namespace pepita::test
