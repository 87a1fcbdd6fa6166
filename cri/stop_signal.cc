#include "cri/stop_signal.h"

#include <signal.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "cri/api/cri.h"
#include "cri/container_spec.h"
#include "cri/spec/member.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;

// Of the kernel are 32 and 33, which the C library keeps for itself.
constexpr int kRealTimeMin = 34;
constexpr int kSignalMax = 64;

constexpr std::array kAliases{std::pair<std::string_view, int>{"CLD", SIGCHLD},
                              std::pair<std::string_view, int>{"IO", SIGIO},
                              std::pair<std::string_view, int>{"IOT", SIGABRT},
                              std::pair<std::string_view, int>{"POLL", SIGPOLL},
                              std::pair<std::string_view, int>{"RTMIN", kRealTimeMin},
                              std::pair<std::string_view, int>{"RTMAX", kSignalMax}};

int named(std::string_view name) {
    for (int number = 1; number < kRealTimeMin; ++number) {
        const char* const known = ::sigabbrev_np(number);
        if (known != nullptr && name == known) {
            return number;
        }
    }
    const auto* const alias =
        std::ranges::find(kAliases, name, &std::pair<std::string_view, int>::first);
    return alias == kAliases.end() ? 0 : alias->second;
}

std::optional<int> digits(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_all = error == std::errc() && end == text.data() + text.size();
    return is_all && value <= kSignalMax ? std::optional(static_cast<int>(value)) : std::nullopt;
}

// 0: none.
int number_of(std::string_view name) {
    if (const auto number = digits(name)) {
        return *number;
    }
    const std::size_t sign = name.find_first_of("+-");
    const int base = named(name.substr(0, sign));
    if (sign == std::string_view::npos || base < kRealTimeMin) {
        return sign == std::string_view::npos ? base : 0;
    }
    const auto distance = digits(name.substr(sign + 1));
    if (!distance) {
        return 0;
    }
    const int number = name[sign] == '+' ? base + *distance : base - *distance;
    return number >= kRealTimeMin && number <= kSignalMax ? number : 0;
}

// "SIGNAL_SIGRTMINPLUS3" is "SIGRTMIN+3".
std::string plain_name(v1::Signal signal) {
    std::string name = v1::Signal_Name(signal);
    name.erase(0, std::string_view("SIGNAL_").size());
    for (const auto& [word, sign] : {std::pair("PLUS", "+"), std::pair("MINUS", "-")}) {
        if (const std::size_t at = name.find(word); at != std::string::npos) {
            name.replace(at, std::string_view(word).size(), sign);
        }
    }
    return name;
}

}  // namespace

Result<int> signal_number(std::string_view name) {
    std::string upper(name);
    std::ranges::transform(upper, upper.begin(), [](char c) {
        return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    if (upper.starts_with("SIG")) {
        upper.erase(0, 3);
    }
    const int number = number_of(upper);
    if (number == 0) {
        return Error(Code::InvalidArgument, in_quotes(name) + " is no signal");
    }
    return number;
}

Result<int> stop_signal_of(const v1::ContainerConfig& container, const ImageConfig& image) {
    if (container.stop_signal() != v1::SIGNAL_RUNTIME_DEFAULT) {
        if (!v1::Signal_IsValid(container.stop_signal())) {
            return invalid("stop_signal", "no such signal");
        }
        return TRY(signal_number(plain_name(container.stop_signal())), "stop_signal");
    }
    if (!image.stop_signal.empty()) {
        return TRY(signal_number(image.stop_signal), "image config: config.StopSignal");
    }
    return SIGTERM;
}

v1::Signal to_signal(int number) {
    // Of several names the usual one comes first.
    for (int value = 1; v1::Signal_IsValid(value); ++value) {
        const auto signal = static_cast<v1::Signal>(value);
        if (signal_number(plain_name(signal)).value_or(0) == number) {
            return signal;
        }
    }
    return v1::SIGNAL_RUNTIME_DEFAULT;
}

}  // namespace pepita::cri
