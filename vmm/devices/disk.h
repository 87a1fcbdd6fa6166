#pragma once

#include "vmm/devices/kind.h"

namespace pepita::vmm {

extern const DeviceKindRow kDiskKind;

}  // namespace pepita::vmm
