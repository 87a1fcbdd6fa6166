#pragma once

#include "runtime/container.h"

namespace pepita::test {

/// Those whose every field differs from its default, and from its neighbours of the same type.
runtime::ProcessSpec full_process();
runtime::ContainerSpec full_container();
runtime::ContainerStats full_stats();

}  // namespace pepita::test
