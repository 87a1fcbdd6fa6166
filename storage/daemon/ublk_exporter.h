#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernel-abi/sys/result.h"
#include "runtime/storage_api.h"
#include "storage/daemon/exporter.h"
#include "storage/disk.h"
#include "storage/ublk_control.h"

namespace pepita::storage::daemon {

/// Volumes as /dev/ublkbN. A device outlives its server: it waits for the next daemon.
class UblkExporter final : public Exporter {
public:
    Result<std::unique_ptr<Export>> attach(const std::string& name, const runtime::AttachSpec& how,
                                           std::shared_ptr<Disk> disk) override;
    Result<std::unique_ptr<Export>> recover(const std::string& name,
                                            const runtime::Attachment& before,
                                            std::shared_ptr<Disk> disk) override;

private:
    /// Opened at the first call: a machine without ublk has other front ends.
    Result<UblkControl*> control();
    Result<std::unique_ptr<Export>> start(const runtime::AttachSpec& how, std::optional<UblkId> id,
                                          std::shared_ptr<Disk> disk);

    std::optional<UblkControl> control_;
};

}  // namespace pepita::storage::daemon
