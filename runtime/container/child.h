#pragma once

#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/container/credentials.h"
#include "runtime/container/engine.h"
#include "runtime/container/root.h"

namespace pepita::runtime::container {

/// What a container's process has of its parent. Where ipc_of and uts_of are not -1, those are
/// pidfds of processes whose namespaces it joins; `staged` is of a container with a user namespace,
/// whose root run_stager() sends over it.
struct Inherited {
    Stdio stdio;
    Fd control;
    Fd staged = Fd();  // NOLINT(readability-redundant-member-init): may be left out
    FdRef ipc_of{-1};
    FdRef uts_of{-1};
};

/// The child's side of Container::create(), in its new namespaces: mounts the root, sets everything
/// up in it, sends Ready, waits for Start, and becomes the program. What fails is sent over
/// `control`.
[[noreturn]] void run_container(ContainerSpec spec, const RootMounts& root, Inherited inherited);

/// A helper of that, in a mount namespace of its own and outside of the user namespace, whose root
/// may mount no disk: sends the root and then one mount for each of spec.mounts, or none for one
/// that the container mounts itself.
[[noreturn]] void run_stager(const ContainerSpec& spec, const RootMounts& root, Fd control);

/// The child's side of Container::exec(), in the container's pid namespace and else in the
/// caller's: joins those of the process behind `pidfd` and becomes the program.
[[noreturn]] void run_exec(const NamespacesSpec& namespaces, ProcessSpec spec,
                           const Confinement& confinement, FdRef pidfd, Stdio stdio, Fd control);

/// The child's side of Container::remove(): removes what the container has written.
[[noreturn]] void run_cleaner(const RootMounts& root, Fd control);

}  // namespace pepita::runtime::container
