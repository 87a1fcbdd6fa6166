#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "runtime/pod_spec.h"

namespace pepita::cri {

/// What a RuntimeClass may name.
struct Handler {
    std::string_view name;
    std::optional<runtime::IsolationChoice> isolation;  // none: the configured one
};

inline constexpr std::array<Handler, 5> kHandlers{{
    {.name = "", .isolation = std::nullopt},
    {.name = "pepita", .isolation = std::nullopt},
    {.name = "pepita-kvm", .isolation = runtime::IsolationChoice::Kvm},
    {.name = "pepita-tcg", .isolation = runtime::IsolationChoice::Tcg},
    {.name = "pepita-process", .isolation = runtime::IsolationChoice::Process},
}};

}  // namespace pepita::cri
