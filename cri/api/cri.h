#pragma once

// The messages of CRI, as protoc makes them. Generated code is not ours to warn about.
#pragma GCC system_header

#include "cri/api/cri.pb.h"

namespace pepita::cri {

namespace v1 = ::runtime::v1;

}  // namespace pepita::cri
