#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/log.h"

namespace pepita::runtime {

/// {"level":"error","msg":"...","time":"..."}, the fields, and a newline: the form that callers of
/// OCI runtimes read from --log. A log::Format.
std::string log_json(std::string_view level, std::string_view text,
                     const std::vector<log::Field>& fields);

/// Now, in UTC, to the second: "2024-02-29T12:00:00Z".
std::string timestamp_now();

}  // namespace pepita::runtime
