#pragma once

#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/result.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/exporter.h"
#include "storage/disk.h"

namespace pepita::storage::daemon {

/// Volumes as vhost-user-blk, each on a unix socket NAME.vhost of one directory. A front end that
/// reconnects finds its volume there again when the daemon was restarted.
class VhostUserExporter final : public Exporter {
public:
    explicit VhostUserExporter(std::string directory) : directory_(std::move(directory)) {}

    Result<std::unique_ptr<Export>> attach(const std::string& name, const api::AttachSpec& how,
                                           std::shared_ptr<Disk> disk) override;
    Result<std::unique_ptr<Export>> recover(const std::string& name, const api::Attachment& before,
                                            std::shared_ptr<Disk> disk) override;

private:
    std::string directory_;
};

}  // namespace pepita::storage::daemon
