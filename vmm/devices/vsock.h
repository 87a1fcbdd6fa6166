#pragma once

#include "vmm/devices/kind.h"

namespace pepita::vmm {

extern const DeviceKindRow kVsockKind;

}  // namespace pepita::vmm
