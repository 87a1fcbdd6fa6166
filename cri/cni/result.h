#pragma once

#include <string>
#include <string_view>

#include "cri/cni.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

inline constexpr std::size_t kCniListMax = 1024;  // of interfaces, addresses, routes

/// A plugin's result, of any version from 0.3.0 on. Every address, MAC and index is checked: the
/// shim gives them to the guest. Errors: InvalidArgument, which names the member.
Result<CniResult> parse_cni_result(const runtime::oci::Json& json);

/// What a plugin that failed has said: its error object, or what it wrote instead of one.
/// `output` and `errors` are its standard streams; `ending` is "exit status 1" or the like.
Error parse_cni_error(std::string_view output, std::string_view errors, std::string_view ending);

}  // namespace pepita::cri
