#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// Ids that a user namespace maps: a line of its uid_map or gid_map.
struct IdMapping {
    static constexpr std::size_t kCountMax = 340;  // of one namespace, user_namespaces(7)

    std::uint32_t container_id = 0;
    std::uint32_t host_id = 0;  // outside of the namespace
    std::uint32_t size = 0;

    friend bool operator==(const IdMapping&, const IdMapping&) = default;
};

/// What is written to uid_map or gid_map.
std::string to_map(std::span<const IdMapping> mappings);

/// A user namespace with these ids and nobody in it, as mounts with mapped ids need one. The
/// caller's /proc must be of the pid namespace that it is in.
/// Errors: of the mappings, which the kernel checks.
Result<Fd> make_user_namespace(std::span<const IdMapping> uids, std::span<const IdMapping> gids);

}  // namespace pepita
