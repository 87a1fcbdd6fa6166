#pragma once

#include <string>
#include <vector>

#include "cri/cni.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {

/// An attachment as the disk remembers it.
struct CachedAttachment {
    std::string network_name;
    std::string container_id;
    std::string interface;
    std::string netns;
    std::string config;  // the network's text
    std::vector<std::pair<std::string, std::string>> args;
    runtime::oci::Json capabilities;  // runtimeConfig, of all plugins
    runtime::oci::Json result;
};

/// One file per attachment, DIRECTORY/results/NETWORK-CONTAINER-INTERFACE, in libcni's format
/// (cniCacheV1), so that an attachment survives us and can be removed by other runtimes.
class CniCache {
public:
    static constexpr std::size_t kFileSizeMax = std::size_t{4} << 20U;

    explicit CniCache(std::string directory) : directory_(std::move(directory)) {}

    Result<void> save(const CachedAttachment& attachment) const;
    /// Errors: NotFound; InvalidArgument for a damaged file.
    Result<CachedAttachment> load(const std::string& file) const;
    /// The file of that container's interface, whatever the network. Errors: NotFound.
    Result<std::string> find(const std::string& container_id, const std::string& interface) const;
    /// Names of all files, sorted.
    Result<std::vector<std::string>> files() const;
    Result<void> remove(const std::string& file) const;

    static std::string file_of(const CachedAttachment& attachment);

private:
    std::string folder() const { return directory_ + "/results"; }

    std::string directory_;
};

}  // namespace pepita::cri
