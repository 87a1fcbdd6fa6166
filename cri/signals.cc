#include "cri/signals.h"

#include <signal.h>
#include <string.h>  // sigabbrev_np

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "cri/api/cri.h"

namespace pepita::cri {
namespace {

// Those of Linux, and not the C library's, which keeps two of them to itself.
constexpr std::uint32_t kRtMin = 34;
constexpr std::uint32_t kRtMax = 64;

std::optional<std::uint32_t> number_of(std::string_view text, std::uint32_t most) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value > most) {
        return std::nullopt;
    }
    return value;
}

/// "", "+3" or "PLUS3" behind RTMIN; the same with a minus behind RTMAX.
std::optional<std::uint32_t> offset_of(std::string_view text, std::string_view sign,
                                       std::string_view word) {
    if (text.empty()) {
        return 0;
    }
    const std::string_view prefix = text.starts_with(word) ? word : sign;
    if (!text.starts_with(prefix)) {
        return std::nullopt;
    }
    return number_of(text.substr(prefix.size()), kRtMax - kRtMin);
}

}  // namespace

std::optional<std::uint32_t> signal_number(std::string_view name) {
    if (const auto number = number_of(name, kRtMax)) {
        return *number == 0 ? std::nullopt : number;
    }
    constexpr std::string_view prefix = "SIG";
    if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
    }
    constexpr std::string_view real_time_min = "RTMIN";
    constexpr std::string_view real_time_max = "RTMAX";
    if (name.starts_with(real_time_min)) {
        const auto offset = offset_of(name.substr(real_time_min.size()), "+", "PLUS");
        return offset ? std::optional(kRtMin + *offset) : std::nullopt;
    }
    if (name.starts_with(real_time_max)) {
        const auto offset = offset_of(name.substr(real_time_max.size()), "-", "MINUS");
        return offset ? std::optional(kRtMax - *offset) : std::nullopt;
    }
    constexpr int standard_max = 31;
    for (int number = 1; number <= standard_max; ++number) {
        const char* known = ::sigabbrev_np(number);
        if (known != nullptr && name == known) {
            return static_cast<std::uint32_t>(number);
        }
    }
    // Second names.
    return name == "CLD"    ? std::optional<std::uint32_t>(SIGCHLD)
           : name == "IOT"  ? std::optional<std::uint32_t>(SIGABRT)
           : name == "IO"   ? std::optional<std::uint32_t>(SIGIO)
           : name == "POLL" ? std::optional<std::uint32_t>(SIGPOLL)
                            : std::nullopt;
}

std::uint32_t signal_number(v1::Signal signal) {
    constexpr std::string_view prefix = "SIGNAL_";
    const std::string& name = v1::Signal_Name(signal);
    return name.starts_with(prefix)
               ? signal_number(std::string_view(name).substr(prefix.size())).value_or(0)
               : 0;
}

}  // namespace pepita::cri
