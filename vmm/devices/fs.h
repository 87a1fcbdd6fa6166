#pragma once

#include "vmm/devices/kind.h"

namespace pepita::vmm {

extern const DeviceKindRow kFsKind;

}  // namespace pepita::vmm
