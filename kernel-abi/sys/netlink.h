#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// A request to the kernel: a header of its family, and attributes behind it.
class NetlinkRequest {
public:
    /// `flags` are NLM_F_*, without NLM_F_REQUEST and NLM_F_ACK.
    template <typename Header>
    NetlinkRequest(std::uint16_t type, std::uint16_t flags, const Header& header)
        : type_(type), flags_(flags) {
        append(std::as_bytes(std::span(&header, 1)));
    }

    void put(std::uint16_t attribute, std::span<const std::byte> value);
    template <typename T>
    void put(std::uint16_t attribute, const T& value) {
        static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>);
        put(attribute, std::as_bytes(std::span(&value, 1)));
    }
    /// With the zero behind it.
    void put_text(std::uint16_t attribute, std::string_view text);
    /// As bytes, such as an address.
    void put_bytes(std::uint16_t attribute, std::string_view bytes) {
        put(attribute, std::as_bytes(std::span(bytes)));
    }

    /// What `fill` puts goes into `attribute`.
    void nest(std::uint16_t attribute, const std::function<void()>& fill);

    std::uint16_t type() const { return type_; }
    std::uint16_t flags() const { return flags_; }
    /// All but the nlmsghdr.
    std::span<const std::byte> body() const { return body_; }

private:
    void append(std::span<const std::byte> bytes);

    std::uint16_t type_;
    std::uint16_t flags_;
    std::vector<std::byte> body_;
};

/// Attributes of a message: what of them is whole.
class NetlinkAttributes {
public:
    explicit NetlinkAttributes(std::span<const std::byte> bytes);

    /// The value's bytes; where there are several, the last one's.
    std::optional<std::span<const std::byte>> find(std::uint16_t attribute) const;
    /// Absent where it is not there, or shorter than a T.
    template <typename T>
    std::optional<T> value(std::uint16_t attribute) const {
        static_assert(std::is_trivially_copyable_v<T>);
        const auto bytes = find(attribute);
        if (!bytes || bytes->size() < sizeof(T)) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, bytes->data(), sizeof(T));
        return value;
    }
    /// Up to the zero; "" where it is not there.
    std::string text(std::uint16_t attribute) const;
    /// All of it; "" where it is not there.
    std::string bytes(std::uint16_t attribute) const;

private:
    struct Attribute {
        std::uint16_t type;
        std::span<const std::byte> value;
    };
    std::vector<Attribute> attributes_;
};

/// A message of the kernel.
class NetlinkMessage {
public:
    NetlinkMessage(std::uint16_t type, std::span<const std::byte> body)
        : type_(type), body_(body) {}

    std::uint16_t type() const { return type_; }
    /// Absent where the message is shorter.
    template <typename Header>
    std::optional<Header> header() const {
        static_assert(std::is_trivially_copyable_v<Header>);
        if (body_.size() < sizeof(Header)) {
            return std::nullopt;
        }
        Header header;
        std::memcpy(&header, body_.data(), sizeof(Header));
        return header;
    }
    /// Those behind such a header.
    template <typename Header>
    NetlinkAttributes attributes() const {
        constexpr std::size_t size = (sizeof(Header) + 3) / 4 * 4;
        return NetlinkAttributes(body_.size() < size ? std::span<const std::byte>()
                                                     : body_.subspan(size));
    }

private:
    std::uint16_t type_;
    std::span<const std::byte> body_;
};

/// A socket to rtnetlink, of the network namespace that its maker was in.
/// Source: RFC 3549; Linux include/uapi/linux/netlink.h.
class Netlink {
public:
    using OnMessage = std::function<void(const NetlinkMessage& message)>;

    /// `groups` has bit n - 1 for each RTNLGRP_* n whose messages come, for drain(). Errors:
    /// socket(2)'s, bind(2)'s.
    static Result<Netlink> open(std::uint32_t groups = 0);

    /// Waits for the kernel's answer, which it gives at once. Errors: the kernel's, in its own
    /// words where it has some.
    Result<void> execute(const NetlinkRequest& request);

    /// The same for a request whose answer is messages, as with NLM_F_DUMP, which is set. One that
    /// changed meanwhile is done again, so `begin` says that all messages before mean nothing.
    Result<void> dump(const NetlinkRequest& request, const std::function<void()>& begin,
                      const OnMessage& on_message);

    /// Messages of the groups that wait. Errors: ResourceExhausted (ENOBUFS) where some were lost.
    Result<void> drain(const OnMessage& on_message);

    FdRef fd() const { return socket_.ref(); }

private:
    struct Round {
        bool is_done = false;          // the answer is complete
        bool was_interrupted = false;  // and means nothing
    };

    explicit Netlink(Fd socket) : socket_(std::move(socket)) {}
    Result<void> send(const NetlinkRequest& request, std::uint16_t flags);
    Result<std::size_t> receive(int flags);
    Result<Round> take(const OnMessage& on_message, std::uint32_t sequence);

    Fd socket_;
    std::uint32_t sequence_ = 0;
    std::vector<std::byte> buffer_;
};

}  // namespace pepita
