#pragma once

#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "runtime/container/root.h"

namespace pepita::runtime::container {

/// The child's side of Container::create(), in its new namespaces: mounts the root, sets everything
/// up in it, sends Ready, waits for Start, and becomes the program. What fails is sent over
/// `control`.
[[noreturn]] void run_container(const ContainerSpec& spec, const RootMounts& root, Stdio stdio,
                                Fd control);

/// The child's side of Container::exec(), in the container's pid namespace and else in the
/// caller's: joins those of the process behind `pidfd` and becomes the program.
[[noreturn]] void run_exec(const NamespacesSpec& namespaces, const ProcessSpec& spec, FdRef pidfd,
                           Stdio stdio, Fd control);

/// The child's side of Container::remove(): removes what the container has written.
[[noreturn]] void run_cleaner(const RootMounts& root, Fd control);

}  // namespace pepita::runtime::container
