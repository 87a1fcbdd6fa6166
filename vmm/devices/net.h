#pragma once

#include "vmm/devices/kind.h"

namespace pepita::vmm {

extern const DeviceKindRow kNetKind;

}  // namespace pepita::vmm
