#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/backing.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {

/// The store of a memory file: the one there, or a new one of `limit` where there is none. Nobody
/// else may have it open: see take_lock().
/// Errors: DataLoss for a file that holds no store; ZramStore::create()'s.
Result<std::shared_ptr<ZramStore>> open_store(const std::string& memory_file, Bytes limit);

/// What the file may grow to before its file system is full; none where that has no bound.
/// Errors: statvfs(3)'s.
Result<std::optional<Bytes>> room_of(const std::string& memory_file);

/// Volumes in a store, and files.
class StoreBacking final : public Backing {
public:
    explicit StoreBacking(std::shared_ptr<ZramStore> store) : store_(std::move(store)) {}

    Result<Bytes> create(const api::VolumeSpec& volume) override;
    Result<std::shared_ptr<Disk>> open(const api::VolumeSpec& volume, bool read_only) override;
    Result<void> resize(const api::VolumeSpec& volume, Bytes capacity) override;
    Result<void> snapshot(const api::VolumeSpec& volume, FdRef file) override;
    Result<void> restore(const api::VolumeSpec& volume, FdRef file) override;
    Result<void> remove(const api::VolumeSpec& volume) override;
    api::PageCounts pages(const api::VolumeSpec& volume) const override;
    api::StorageStats stats() const override;
    void mark_idle() override { store_->mark_idle(); }
    Result<ZramCompaction> compact_idle(Pages budget) override;
    std::vector<Kept> kept() const override;

private:
    Result<std::shared_ptr<ZramVolume>> find(const api::VolumeSpec& volume) const;

    // Shared: volumes hold it as well.
    std::shared_ptr<ZramStore> store_;
};

}  // namespace pepita::storage::daemon
