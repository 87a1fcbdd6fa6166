#pragma once

#include <string>

#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"

namespace pepita::runtime::container {

/// The child's side of Container::create(), in its new namespaces: sets everything up below
/// `root`, says so, waits for the word to start, and becomes the program. What fails is said over
/// `control`.
[[noreturn]] void run_container(const ContainerSpec& spec, const std::string& root, Stdio stdio,
                                Fd control);

/// The child's side of Container::exec(), still in the caller's namespaces: joins those of the
/// process behind `pidfd` and goes on there in a process of its own, of which `control` is told.
[[noreturn]] void run_exec(const NamespacesSpec& namespaces, const ProcessSpec& spec, FdRef pidfd,
                           Stdio stdio, Fd control);

}  // namespace pepita::runtime::container
