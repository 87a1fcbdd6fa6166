#include "cri/streaming/token_table.h"

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cri/streaming.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

// 128 bits: nobody guesses one within its minute.
Result<std::string> random_token() {
    constexpr std::string_view digits = "0123456789abcdef";
    std::array<std::uint8_t, 16> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        return Error::from_errno(errno, "getrandom");
    }
    std::string token;
    for (const std::uint8_t byte : bytes) {
        token.push_back(digits[byte >> 4U]);
        token.push_back(digits[byte & 0xfU]);
    }
    return token;
}

}  // namespace

Result<std::string> TokenTable::put(StreamRequest request, Clock::time_point now) {
    drop_expired(now);
    if (waiting_.size() >= kWaitingMax) {
        return Error(Code::ResourceExhausted,
                     std::to_string(kWaitingMax) + " streaming requests wait for their clients");
    }
    std::string token = TRY(random_token());
    waiting_.emplace(token, std::move(request));
    expiries_.emplace_back(now + lifetime_, token);
    return token;
}

std::optional<StreamRequest> TokenTable::take(const std::string& token, Clock::time_point now) {
    drop_expired(now);
    auto found = waiting_.extract(token);
    if (found.empty()) {
        return std::nullopt;
    }
    return std::move(found.mapped());
}

void TokenTable::drop_expired(Clock::time_point now) {
    while (!expiries_.empty() && expiries_.front().first <= now) {
        waiting_.erase(expiries_.front().second);
        expiries_.pop_front();
    }
}

}  // namespace pepita::cri
