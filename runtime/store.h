#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::oci {

/// The directory below which each container has one of its name, made by its shim. Whatever lies
/// in it is reached from its descriptor without following links, so nothing outside is touched.
class ContainerStore {
public:
    /// A root that is not there has no containers.
    static Result<ContainerStore> open(std::string_view root);

    /// Sorted.
    Result<std::vector<std::string>> ids() const;

    /// The container's directory. Errors: NotFound "container 'x' does not exist".
    Result<Fd> open_container(std::string_view id) const;

    /// The pod that a container with the network namespace at `path` is a member of: one whose
    /// stand-in has that namespace; nullopt where there is none.
    Result<std::optional<std::string>> pod_of_network(const std::string& path) const;

    /// Removes the container's directory and what is in it. One that is gone is no error.
    Result<void> remove(std::string_view id) const;

    /// Removes what a shim that was killed has left of a pod and of the containers in it.
    /// Errors: Unavailable while a shim has them, also one that is about to be gone.
    Result<void> remove_pod(std::string_view pod) const;

private:
    explicit ContainerStore(std::optional<Fd> root) : root_(std::move(root)) {}
    std::optional<Fd> root_;
};

/// A connection to the shim of a container's directory, whatever the length of its path.
/// Errors: NotFound or Unavailable (ECONNREFUSED) where there is none, see has_no_shim().
Result<Fd> connect_shim(FdRef directory);

/// Whether connecting failed because nobody is there, rather than because of how they are.
bool has_no_shim(const Error& error);

}  // namespace pepita::runtime::oci
