#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/exporter.h"
#include "storage/disk.h"
#include "storage/ublk_control.h"

namespace pepita::storage::daemon {

/// Volumes as /dev/ublkbN. A device outlives its server: it waits for the next daemon.
class UblkExporter final : public Exporter {
public:
    /// `mark` stands in each device, for remove_strays(); see ublk_mark().
    explicit UblkExporter(std::uint64_t mark) : mark_(mark) {}

    Result<std::unique_ptr<Export>> attach(const std::string& name, const api::AttachSpec& how,
                                           std::shared_ptr<Disk> disk) override;
    Result<std::unique_ptr<Export>> recover(const std::string& name, const api::Attachment& before,
                                            std::shared_ptr<Disk> disk) override;
    void remove_strays(const std::vector<std::string>& exported) override;

private:
    /// Opened at the first call: a machine without ublk has other front ends.
    Result<UblkControl*> control();
    Result<std::unique_ptr<Export>> start(const api::AttachSpec& how, std::optional<UblkId> id,
                                          std::shared_ptr<Disk> disk);

    std::uint64_t mark_;
    std::optional<UblkControl> control_;
};

/// A number that no other directory of this machine has: of the file system's and the inode's.
/// Errors: fstat(2)'s.
Result<std::uint64_t> ublk_mark(FdRef directory);

}  // namespace pepita::storage::daemon
