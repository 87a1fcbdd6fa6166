#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace pepita::vmm::net {

/// Limits bytes in time: a burst passes at once, what is beyond it at the rate. A frame passes
/// whole as soon as there is a token at all, and the bucket may owe the rest of it: no frame is
/// larger than every bucket.
class TokenBucket {
public:
    using Clock = std::chrono::steady_clock;

    /// So much may pass at once: what the rate gives in this time.
    static constexpr std::chrono::milliseconds kBurst{100};
    static constexpr std::uint64_t kRateMax = std::uint64_t{1} << 40U;

    /// `bytes_per_second` 0: no limit. At most kRateMax.
    TokenBucket(std::uint64_t bytes_per_second, Clock::time_point now)
        : rate_(static_cast<std::int64_t>(bytes_per_second)),
          burst_(std::max<std::int64_t>(rate_ * kBurst.count() / 1000, 1)),
          tokens_(burst_),
          filled_at_(now) {}

    bool is_limited() const { return rate_ != 0; }

    /// Whether a frame may pass now.
    bool is_open(Clock::time_point now) {
        if (!is_limited()) {
            return true;
        }
        // A longer time fills it in any case, and its product could overflow.
        const auto passed = std::min<Clock::duration>(now - filled_at_, std::chrono::seconds(1));
        const std::int64_t more =
            rate_ * std::chrono::duration_cast<std::chrono::microseconds>(passed).count() /
            std::micro::den;
        if (more > 0) {
            tokens_ = std::min(tokens_ + more, burst_);
            filled_at_ = now;
        }
        return tokens_ > 0;
    }

    void take(std::uint64_t bytes) {
        tokens_ -= is_limited() ? static_cast<std::int64_t>(bytes) : 0;
    }

    /// How long it stays closed, at least; for one that is_open() found closed.
    Clock::duration until_open() const {
        return std::chrono::microseconds((1 - tokens_) * std::micro::den / rate_ + 1);
    }

private:
    std::int64_t rate_;
    std::int64_t burst_;
    std::int64_t tokens_;
    Clock::time_point filled_at_;
};

}  // namespace pepita::vmm::net
