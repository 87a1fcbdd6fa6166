#pragma once

// The messages of CRI and of our own state, as protoc makes them. Generated code is not ours to
// warn about.
#pragma GCC system_header

#include "cri/api/cri.pb.h"
#include "cri/api/state.pb.h"

namespace pepita::cri {

namespace v1 = ::runtime::v1;
using state::ContainerRecord;
using state::PodRecord;

}  // namespace pepita::cri
