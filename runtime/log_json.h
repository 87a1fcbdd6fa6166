#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "kernel-abi/sys/log.h"

namespace pepita::runtime {

/// {"level":"error","msg":"...","time":"..."}, the fields, and a newline: the form that callers of
/// OCI runtimes read from --log. A log::Format.
std::string log_json(std::string_view level, std::string_view text,
                     std::initializer_list<log::Field> fields);

}  // namespace pepita::runtime
