#pragma once

#include <string>
#include <string_view>

namespace pepita::runtime::oci {

/// {"level":"error","msg":"...","time":"..."} and a newline: the form that callers of OCI runtimes
/// read from --log.
std::string log_json(std::string_view level, std::string_view message, std::string_view time);

}  // namespace pepita::runtime::oci
