#pragma once

#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/options.h"

namespace pepita::runtime {

// Sizes and times as people write them.

/// "4096", "64M", "1G": bytes, with a binary suffix K, M, G or T.
/// Errors: InvalidArgument, for 0 and over 2^63 too.
inline Result<Bytes> parse_size(std::string_view text) {
    constexpr std::string_view suffixes = "KMGT";
    constexpr std::uint64_t most = 1ULL << 63U;
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
    const std::size_t suffix =
        rest.size() == 1 ? suffixes.find(rest.front()) : std::string_view::npos;
    const bool is_plain = rest.empty();
    const std::size_t shift = is_plain ? 0 : (suffix + 1) * 10;
    if (error != std::errc() || (!is_plain && suffix == std::string_view::npos) || value == 0 ||
        value > (most >> shift)) {
        return usage_error("must be a size above 0, such as 4096, 64M or 1G");
    }
    return Bytes(value << shift);
}

/// "10" or "10s", "500ms", "5m", "1h". Errors: InvalidArgument, for 0 and over a year too.
inline Result<std::chrono::milliseconds> parse_time(std::string_view text) {
    struct Unit {
        std::string_view name;
        std::chrono::milliseconds length;
    };
    constexpr std::array<Unit, 5> units{Unit{.name = "", .length = std::chrono::seconds(1)},
                                        Unit{.name = "s", .length = std::chrono::seconds(1)},
                                        Unit{.name = "ms", .length = std::chrono::milliseconds(1)},
                                        Unit{.name = "m", .length = std::chrono::minutes(1)},
                                        Unit{.name = "h", .length = std::chrono::hours(1)}};
    constexpr std::chrono::milliseconds most = std::chrono::hours(24 * 365);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
    for (const Unit& unit : units) {
        if (error == std::errc() && unit.name == rest && value != 0 &&
            value <= static_cast<std::uint64_t>(most / unit.length)) {
            return unit.length * static_cast<std::int64_t>(value);
        }
    }
    return usage_error("must be a time above 0, such as 500ms, 10s, 5m or 1h");
}

struct Size {
    static Result<void> parse(Bytes& into, std::string_view text) {
        into = TRY(parse_size(text));
        return {};
    }
    static void print(Bytes from, std::vector<std::string>& values) {
        values.push_back(std::to_string(from.value()));
    }
};

/// A duration of at least a millisecond.
struct Time {
    template <typename Duration>
    static Result<void> parse(Duration& into, std::string_view text) {
        into = TRY(parse_time(text));
        return {};
    }
    template <typename Duration>
    static void print(const Duration& from, std::vector<std::string>& values) {
        const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(from);
        values.push_back(std::to_string(whole.count()) + "ms");
    }
};

}  // namespace pepita::runtime
