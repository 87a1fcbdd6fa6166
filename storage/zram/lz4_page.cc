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
// The encoder looks no later than so far before the end, so that it may copy 16 bytes of literals
// from each place where a match begins or did not.
constexpr std::size_t kLookMargin = 16;
static_assert(kLookMargin >= kMatchStartMargin);
constexpr unsigned kHashBits = 13;
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
    // Most matches end within 16 bytes, in the first 8 or behind them: nobody can predict where.
    if (limit - b >= 16) [[likely]] {
        const std::uint64_t low = load<std::uint64_t>(a) ^ load<std::uint64_t>(b);
        const std::uint64_t high = load<std::uint64_t>(a + 8) ^ load<std::uint64_t>(b + 8);
        const auto in_low = static_cast<unsigned>(std::countr_zero(low));
        const auto in_high = static_cast<unsigned>(std::countr_zero(high));
        const unsigned bits = low != 0 ? in_low : 64 + in_high;
        if (bits != 128) [[likely]] {
            return bits / 8;
        }
        a += 16;
        b += 16;
    }
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

constexpr std::size_t kCopiedTooFar = 16;
static_assert(kPageBytes / 128 + 5 + kCopiedTooFar < kLz4Spare);

/// Where sequences go, as long as there is room.
class Output {
public:
    explicit Output(std::span<std::byte> into)
        : begin_(into.data()), at_(into.data()), end_(into.data() + into.size()) {}

    std::size_t size() const { return static_cast<std::size_t>(at_ - begin_); }

    /// The literals, and the match behind them. False without room.
    bool sequence(std::span<const std::byte> literals, std::size_t offset, std::size_t match) {
        const std::size_t rest = match - kMinMatch;
        // The token, the offset, more than both counts' further bytes, and what the copy of the
        // literals writes too much. For a whole page that is not kLz4Spare more than it needs.
        const std::size_t most =
            literals.size() + (literals.size() + rest) / 128 + 5 + kCopiedTooFar;
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
    // The page goes on for 16 bytes behind all literals but the last: kLookMargin.
    void put_literals(std::span<const std::byte> literals) {
        std::byte* const token = at_++;
        *token = static_cast<std::byte>(std::min(literals.size(), kRunMask) << 4U);
        if (literals.size() >= kRunMask) {
            at_ = put_length(at_, literals.size() - kRunMask);
        }
        std::memcpy(at_, literals.data(), 16);
        for (std::size_t done = 16; done < literals.size(); done += 16) {
            std::memcpy(at_ + done, literals.data() + done, 16);
        }
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
    const std::byte* const last_look = end - kLookMargin;
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
    while (at < last_look) {  // two places in a turn, of which one load has the bytes
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
        if (at < last_look) {
            (void)look_up(load<std::uint64_t>(at - 2), at - 2);
        }
    }
    return output.last({anchor, end}) ? output.size() : 0;
}

namespace {

constexpr std::size_t kStep = 32;

/// Copies in steps of kStep, up to kStep - 1 bytes too far; each half sees what the one before has
/// stored, so 16 bytes may lie between the two.
void copy_steps(std::byte* to, const std::byte* from, std::size_t length) {
    std::byte* const end = to + length;
    do {
        std::memcpy(to, from, 16);
        std::memcpy(to + 16, from + 16, 16);
        to += kStep;
        from += kStep;
    } while (to < end);
}

/// For each offset below 8: what makes 8 bytes of so few when they are multiplied by it, and how
/// many of the 8 are whole turns.
struct Repetition {
    std::uint64_t factor;
    std::size_t step;
};
constexpr std::array<Repetition, 8> kRepetitions{{{.factor = 0, .step = 0},
                                                  {.factor = 0x0101010101010101, .step = 8},
                                                  {.factor = 0x0001000100010001, .step = 8},
                                                  {.factor = 0x0001000001000001, .step = 6},
                                                  {.factor = 0x0000000100000001, .step = 8},
                                                  {.factor = 0x0000010000000001, .step = 5},
                                                  {.factor = 0x0001000000000001, .step = 6},
                                                  {.factor = 0x0100000000000001, .step = 7}}};

/// Repeats what lies `offset` bytes before `to`; up to kMatchOvershoot bytes too far.
void copy_match(std::byte* to, std::size_t offset, std::size_t length) {
    if (offset >= 16) {
        return copy_steps(to, to - offset, length);
    }
    std::byte* const end = to + length;
    if (offset >= 8) {
        for (; to < end; to += 8) {
            std::memcpy(to, to - offset, 8);
        }
        return;
    }
    // Not from memory, where each step would wait for what the one before has stored.
    const auto [factor, step] = kRepetitions[offset];
    const std::uint64_t turn = load<std::uint64_t>(to - offset) & ((1ULL << (8 * offset)) - 1);
    const std::uint64_t pattern = turn * factor;
    for (; to < end; to += step) {
        std::memcpy(to, &pattern, 8);
    }
}
constexpr std::size_t kMatchOvershoot = kStep - 1;

/// Where a decoder reads and writes. Passed around by value: as members of an object, which bytes
/// may alias, they would be loaded anew behind each byte that is stored.
struct Cursor {
    const std::byte* from;
    std::byte* to;
};

/// The block and the page.
struct Limits {
    const std::byte* from_end;
    std::byte* to_begin;
    std::byte* to_end;

    std::size_t left(const std::byte* from) const {
        return static_cast<std::size_t>(from_end - from);
    }
    std::size_t room(const std::byte* to) const { return static_cast<std::size_t>(to_end - to); }
    std::size_t done(const std::byte* to) const { return static_cast<std::size_t>(to - to_begin); }
};

/// What follows a count whose 4 bits are all set, until a byte of less than 255. The result's
/// `from` is null where the block ends before, or where the count is more than any page holds.
struct Length {
    const std::byte* from;
    std::size_t value;
};
Length take_length(const std::byte* from, const std::byte* from_end) {
    std::size_t length = kRunMask;
    while (from != from_end && length <= kPageBytes) {
        const auto more = std::to_integer<std::size_t>(*from++);
        length += more;
        if (more != 255) {
            return {.from = length <= kPageBytes ? from : nullptr, .value = length};
        }
    }
    return {.from = nullptr, .value = 0};
}

// So far from both ends nothing that the fast way copies too far leaves them: 14 literals as 16
// bytes and an offset; the longest match that the token holds, and what has to be behind it.
constexpr std::size_t kFastLeft = 16 + 2;
constexpr std::size_t kFastRoom = 14 + 18 + kMatchStartMargin;
static_assert(kFastRoom >= kStep);

/// Sequences as long as they are far from both ends. Gives the place of the first that is not, or
/// is damaged: exact_sequences() goes on there.
// NOLINTNEXTLINE(readability-function-cognitive-complexity): one loop, all in registers
Cursor fast_sequences(Cursor at, const Limits& limits) {
    if (limits.left(at.from) <= kFastLeft) {
        return at;
    }
    const std::byte* const fast_from_end = limits.from_end - kFastLeft;
    const std::byte* const fast_to_end = limits.to_end - kFastRoom;
    while (at.from < fast_from_end && at.to <= fast_to_end) {
        const std::byte* from = at.from;
        std::byte* to = at.to;
        const auto token = std::to_integer<std::size_t>(*from++);
        const std::size_t literals = token >> 4U;
        if (literals != kRunMask) [[likely]] {
            std::memcpy(to, from, 16);
            from += literals;
            to += literals;
        } else {
            const Length length = take_length(from, limits.from_end);
            if (length.from == nullptr || limits.left(length.from) < length.value + kStep ||
                limits.room(to) < length.value + kFastRoom) {
                return at;
            }
            copy_steps(to, length.from, length.value);
            from = length.from + length.value;
            to += length.value;
        }
        const std::size_t offset = load<std::uint16_t>(from);
        from += 2;
        if (offset - 1 >= limits.done(to)) [[unlikely]] {  // 0 too
            return at;
        }
        std::size_t match = token & kRunMask;
        if (match != kRunMask && offset >= 8) [[likely]] {
            const std::byte* const seen = to - offset;
            std::memcpy(to, seen, 8);
            std::memcpy(to + 8, seen + 8, 8);
            std::memcpy(to + 16, seen + 16, 2);
        } else {
            if (match == kRunMask) {
                const Length length = take_length(from, limits.from_end);
                if (length.from == nullptr) {
                    return at;
                }
                from = length.from;
                match = length.value;
            }
            if (limits.room(to) < match + kMinMatch + kMatchOvershoot) {
                return at;
            }
            if (offset >= 16) [[likely]] {
                copy_steps(to, to - offset, match + kMinMatch);
            } else {
                copy_match(to, offset, match + kMinMatch);
            }
        }
        at = {.from = from, .to = to + match + kMinMatch};
    }
    return at;
}

/// The same to the last byte. True where block and page end together, as the format asks.
bool exact_sequences(Cursor at, const Limits& limits) {
    auto [from, to] = at;
    while (from != limits.from_end) {
        const auto token = std::to_integer<std::size_t>(*from++);
        Length length{.from = from, .value = token >> 4U};
        if (length.value == kRunMask) {
            length = take_length(from, limits.from_end);
        }
        if (length.from == nullptr || length.value > limits.left(length.from) ||
            length.value > limits.room(to)) {
            return false;
        }
        std::memcpy(to, length.from, length.value);
        from = length.from + length.value;
        to += length.value;
        if (from == limits.from_end) {
            return to == limits.to_end;
        }
        if (limits.left(from) < 2 || limits.room(to) < kMatchStartMargin) {
            return false;
        }
        const std::size_t offset = load<std::uint16_t>(from);
        from += 2;
        length = {.from = from, .value = token & kRunMask};
        if (length.value == kRunMask) {
            length = take_length(from, limits.from_end);
        }
        const std::size_t match = length.value + kMinMatch;
        if (length.from == nullptr || offset - 1 >= limits.done(to) ||
            match + kLastLiterals > limits.room(to)) {
            return false;
        }
        from = length.from;
        // Fast as far as that can go too far, then to the byte.
        const std::size_t room = limits.room(to);
        std::size_t copied = 0;
        if (room > kMatchOvershoot) {
            copied = std::min(match, room - kMatchOvershoot);
            copy_match(to, offset, copied);
        }
        for (; copied < match; ++copied) {
            to[copied] = *(to + copied - offset);
        }
        to += match;
    }
    return false;
}

}  // namespace

bool lz4_decompress_page(std::span<const std::byte> block, PageSpan into) {
    const Limits limits{.from_end = block.data() + block.size(),
                        .to_begin = into.data(),
                        .to_end = into.data() + into.size()};
    const Cursor begin{.from = block.data(), .to = into.data()};
    return exact_sequences(fast_sequences(begin, limits), limits);
}

}  // namespace pepita::storage
