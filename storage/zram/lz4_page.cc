#include "storage/zram/lz4_page.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// A block is a row of sequences: a token (4 bits count of literals, 4 bits length of the match less
// 4), more of the first count where it is 15, the literals, an offset of two bytes, more of the
// second length where it is 15. The last sequence ends with its literals. Its last 5 bytes are
// literals, and the last match begins 12 bytes before the end or earlier.
//
// What makes this faster than a general encoder: a position fits in 12 bits, so the table is small
// enough to be cleared for each page; no position is too far for an offset; one size for all.

namespace pepita::storage {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::size_t kMinMatch = 4;
constexpr std::size_t kLastLiterals = 5;
constexpr std::size_t kMatchStartMargin = 12;
constexpr unsigned kHashBits = 12;
constexpr std::size_t kRunMask = 15;
constexpr unsigned kSkipTrigger = 6;  // after so many (as a power of 2) misses the steps grow

template <typename T>
T load(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return value;
}

/// How many bytes are equal from `a` and `b` on, `b` not beyond `limit`.
std::size_t equal_bytes(const std::byte* a, const std::byte* b, const std::byte* limit) {
    const std::byte* const start = b;
    while (limit - b >= 8) {
        const std::uint64_t difference = load<std::uint64_t>(a) ^ load<std::uint64_t>(b);
        if (difference != 0) {
            return static_cast<std::size_t>(b - start) +
                   static_cast<std::size_t>(std::countr_zero(difference)) / 8;
        }
        a += 8;
        b += 8;
    }
    while (b < limit && *a == *b) {
        ++a;
        ++b;
    }
    return static_cast<std::size_t>(b - start);
}

/// Of the first 5 bytes: of 4, more candidates would turn out to be no good for the time they cost.
std::size_t hash_of(std::uint64_t bytes) {
    return ((bytes << 24U) * 889523592379ULL) >> (64U - kHashBits);
}

/// What is left of a count behind its 4 bits: bytes of 255, and one that is less.
std::byte* put_length(std::byte* to, std::size_t length) {
    for (; length >= 255; length -= 255) {
        *to++ = std::byte{255};
    }
    *to++ = static_cast<std::byte>(length);
    return to;
}

/// Where sequences go, as long as there is room.
class Output {
public:
    explicit Output(std::span<std::byte> into)
        : begin_(into.data()), at_(into.data()), end_(into.data() + into.size()) {}

    std::size_t size() const { return static_cast<std::size_t>(at_ - begin_); }

    /// The literals, and the match behind them. False without room.
    bool sequence(std::span<const std::byte> literals, std::size_t offset, std::size_t match) {
        const std::size_t rest = match - kMinMatch;
        // Both counts' further bytes, the offset, and what a copy of whole words writes too much.
        const std::size_t most =
            literals.size() + literals.size() / 255 + rest / 255 + 5 + kLz4Spare;
        if (static_cast<std::size_t>(end_ - at_) < most) {
            return false;
        }
        std::byte* const token = at_;
        put_literals(literals);
        const auto offset16 = static_cast<std::uint16_t>(offset);
        std::memcpy(at_, &offset16, sizeof(offset16));
        at_ += sizeof(offset16);
        put_match(token, rest);
        return true;
    }

    /// The literals that end the block. False without room.
    bool last(std::span<const std::byte> literals) {
        if (static_cast<std::size_t>(end_ - at_) < literals.size() + literals.size() / 255 + 2) {
            return false;
        }
        std::byte* const token = at_++;
        *token = static_cast<std::byte>(std::min(literals.size(), kRunMask) << 4U);
        if (literals.size() >= kRunMask) {
            at_ = put_length(at_, literals.size() - kRunMask);
        }
        std::memcpy(at_, literals.data(), literals.size());
        at_ += literals.size();
        return true;
    }

private:
    // The page goes on for 16 bytes behind all literals but the last: a match cannot begin later.
    void put_literals(std::span<const std::byte> literals) {
        std::byte* const token = at_++;
        *token = static_cast<std::byte>(std::min(literals.size(), kRunMask) << 4U);
        if (literals.size() >= kRunMask) {
            at_ = put_length(at_, literals.size() - kRunMask);
        }
        std::size_t done = 0;
        do {
            std::memcpy(at_ + done, literals.data() + done, 8);
            done += 8;
        } while (done < literals.size());
        at_ += literals.size();
    }

    void put_match(std::byte* token, std::size_t rest) {
        *token |= static_cast<std::byte>(std::min(rest, kRunMask));
        if (rest >= kRunMask) {
            at_ = put_length(at_, rest - kRunMask);
        }
    }

    std::byte* begin_;
    std::byte* at_;
    std::byte* end_;
};

}  // namespace

std::size_t lz4_compress_page(PageView page, std::span<std::byte> into) {
    std::array<std::uint16_t, 1U << kHashBits> positions{};  // by hash; 0 is as good as any
    const std::byte* const base = page.data();
    const std::byte* const end = base + page.size();
    const std::byte* const last_start = end - kMatchStartMargin;
    const std::byte* const match_end = end - kLastLiterals;
    // Where bytes like those at `at` were seen last; now they were seen there.
    const auto look_up = [&](std::uint64_t bytes, const std::byte* at) {
        std::uint16_t& position = positions[hash_of(bytes)];
        const std::byte* const seen = base + position;
        position = static_cast<std::uint16_t>(at - base);
        return seen;
    };
    Output output(into);
    const std::byte* anchor = base;
    const std::byte* at = base + 1;
    std::size_t misses = 1U << kSkipTrigger;
    while (at < last_start) {  // two places in a turn, of which one load has the bytes
        const auto bytes = load<std::uint64_t>(at);
        const std::byte* candidate = look_up(bytes, at);
        if (load<std::uint32_t>(candidate) != static_cast<std::uint32_t>(bytes)) {
            ++at;
            candidate = look_up(bytes >> 8U, at);
            if (load<std::uint32_t>(candidate) != static_cast<std::uint32_t>(bytes >> 8U)) {
                at += misses >> kSkipTrigger;
                misses += 2;
                continue;
            }
        }
        misses = 1U << kSkipTrigger;
        while (at > anchor && candidate > base && at[-1] == candidate[-1]) {
            --at;
            --candidate;
        }
        const std::size_t length =
            kMinMatch + equal_bytes(candidate + kMinMatch, at + kMinMatch, match_end);
        if (!output.sequence({anchor, at}, static_cast<std::size_t>(at - candidate), length)) {
            return 0;
        }
        at += length;
        anchor = at;
        if (at < last_start) {
            (void)look_up(load<std::uint64_t>(at - 2), at - 2);
        }
    }
    return output.last({anchor, end}) ? output.size() : 0;
}

namespace {

/// Copies in steps of 16 bytes, up to 15 bytes too far.
void copy_steps(std::byte* to, const std::byte* from, std::size_t length) {
    std::byte* const end = to + length;
    do {
        std::memcpy(to, from, 16);
        to += 16;
        from += 16;
    } while (to < end);
}

/// Repeats what lies `offset` bytes before `to`; up to kMatchOvershoot bytes too far.
void copy_match(std::byte* to, std::size_t offset, std::size_t length) {
    if (offset >= 16) {
        return copy_steps(to, to - offset, length);
    }
    std::byte* const end = to + length;
    const std::byte* from = to - offset;
    if (offset < 8) {
        // Byte by byte until the pattern is 8 bytes long; from then on it repeats a multiple of
        // itself that lies far enough back.
        for (int i = 0; i < 8; ++i) {
            to[i] = from[i];
        }
        to += 8;
        from = to - (offset * ((7 + offset) / offset));
    }
    while (to < end) {
        std::memcpy(to, from, 8);
        to += 8;
        from += 8;
    }
}
constexpr std::size_t kMatchOvershoot = 16;

/// Reads sequences; each step says whether all that it read was sound.
class Decoder {
public:
    Decoder(std::span<const std::byte> block, PageSpan into)
        : from_(block.data()),
          from_end_(from_ + block.size()),
          to_(into.data()),
          to_begin_(to_),
          to_end_(to_ + into.size()) {}

    bool run() {
        while (from_ != from_end_) {
            const auto token = std::to_integer<std::size_t>(*from_++);
            const std::size_t literal_count = token >> 4U;
            const std::size_t rest = token & kRunMask;
            // The usual: few literals and a short match, far from both ends.
            if (literal_count != kRunMask && left() >= 18 && room() >= 16 + 18) {
                std::memcpy(to_, from_, 16);
                to_ += literal_count;
                from_ += literal_count;
                const std::size_t offset = load<std::uint16_t>(from_);
                if (rest != kRunMask && offset >= 8 && offset <= done()) {
                    from_ += 2;
                    std::memcpy(to_, to_ - offset, 8);
                    std::memcpy(to_ + 8, to_ - offset + 8, 8);
                    std::memcpy(to_ + 16, to_ - offset + 16, 2);
                    to_ += rest + kMinMatch;
                    continue;
                }
            } else {
                if (!take_literals(literal_count)) {
                    return false;
                }
                if (from_ == from_end_) {
                    return to_ == to_end_;
                }
            }
            if (!take_match(rest)) {
                return false;
            }
        }
        return false;
    }

private:
    std::size_t left() const { return static_cast<std::size_t>(from_end_ - from_); }
    std::size_t room() const { return static_cast<std::size_t>(to_end_ - to_); }
    std::size_t done() const { return static_cast<std::size_t>(to_ - to_begin_); }

    /// What follows a count whose 4 bits are all set. False where the block ends in it, or where
    /// it is more than any page holds.
    bool take_length(std::size_t& length) {
        if (length != kRunMask) {
            return true;
        }
        while (from_ != from_end_) {
            const auto more = std::to_integer<std::size_t>(*from_++);
            length += more;
            if (more != 255 || length > kPageBytes) {
                return length <= kPageBytes;
            }
        }
        return false;
    }

    bool take_literals(std::size_t count) {
        if (!take_length(count) || count > left() || count > room()) {
            return false;
        }
        if (left() >= count + 16 && room() >= count + 16) {
            copy_steps(to_, from_, count);
        } else {
            std::memcpy(to_, from_, count);
        }
        to_ += count;
        from_ += count;
        return true;
    }

    bool take_match(std::size_t length) {
        if (left() < 2) {
            return false;
        }
        const std::size_t offset = load<std::uint16_t>(from_);
        from_ += 2;
        if (offset == 0 || offset > done() || !take_length(length)) {
            return false;
        }
        length += kMinMatch;
        if (length > room()) {
            return false;
        }
        if (room() >= length + kMatchOvershoot) {
            copy_match(to_, offset, length);
        } else {
            for (std::size_t i = 0; i < length; ++i) {
                to_[i] = *(to_ + i - offset);
            }
        }
        to_ += length;
        return true;
    }

    const std::byte* from_;
    const std::byte* from_end_;
    std::byte* to_;
    std::byte* to_begin_;
    std::byte* to_end_;
};

}  // namespace

bool lz4_decompress_page(std::span<const std::byte> block, PageSpan into) {
    return Decoder(block, into).run();
}

}  // namespace pepita::storage
