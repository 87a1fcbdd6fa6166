#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime::api {

/// Errors: InvalidArgument where the bytes are no such message.
template <typename Message>
Result<Message> parse(std::string_view payload) {
    Message message;
    if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
        return Error(Code::InvalidArgument, "a payload that cannot be read");
    }
    return message;
}

/// For a caller: answers `done` with what `convert` makes of the reply's message.
template <typename Message, typename T, typename Convert>
Channel::Reply reply_to(OnResult<T> done, Convert convert) {
    return [done = std::move(done), convert](Result<std::string> payload) mutable {
        if (!payload) {
            return done(std::move(payload).error());
        }
        Result<Message> message = parse<Message>(*payload);
        if (!message) {
            return done(std::move(message).error());
        }
        if constexpr (std::is_void_v<T>) {
            (void)convert;  // clang: a capture must be used in every instance
            done({});
        } else {
            done(convert(*message));
        }
    };
}

/// For a server: the result becomes the message that `convert` makes of it, and goes out.
template <typename T, typename Convert>
OnResult<T> respond_to(Channel::Responder responder, const Convert& convert) {
    return [responder = std::move(responder), convert](Result<T> result) mutable {
        if (!result) {
            return responder.respond(std::move(result).error());
        }
        if constexpr (std::is_void_v<T>) {
            (void)convert;
            responder.respond(std::string());
        } else {
            responder.respond(convert(*result).SerializeAsString());
        }
    };
}

/// An answer without content.
inline OnResult<void> respond_to(Channel::Responder responder) {
    return respond_to<void>(std::move(responder), [] {});
}

}  // namespace pepita::runtime::api
