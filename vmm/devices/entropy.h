#pragma once

#include "vmm/devices/kind.h"

namespace pepita::vmm {

extern const DeviceKindRow kEntropyKind;

}  // namespace pepita::vmm
