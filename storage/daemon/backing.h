#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"

namespace pepita::storage {
class Disk;
struct ZramCompaction;
}  // namespace pepita::storage

namespace pepita::storage::daemon {

/// What volumes are kept in: the store, and files. Thread: that of the Node.
class Backing {
public:
    Backing() = default;
    Backing(const Backing&) = delete;
    Backing& operator=(const Backing&) = delete;
    Backing(Backing&&) = delete;
    Backing& operator=(Backing&&) = delete;
    virtual ~Backing() = default;

    /// Gives the capacity that it has. Errors: InvalidArgument; AlreadyExists; NotFound without the
    /// file; ResourceExhausted where the store is full.
    virtual Result<Bytes> create(const api::VolumeSpec& volume) = 0;
    /// The volume's disk, as often as it is asked for.
    virtual Result<std::shared_ptr<Disk>> open(const api::VolumeSpec& volume, bool read_only) = 0;
    virtual Result<void> resize(const api::VolumeSpec& volume, Bytes capacity) = 0;
    /// Errors: Unsupported for volumes that are not kept in the store.
    virtual Result<void> snapshot(const api::VolumeSpec& volume, FdRef file) = 0;
    virtual Result<void> restore(const api::VolumeSpec& volume, FdRef file) = 0;
    /// Takes it out of the store; files stay. One that is gone is no error.
    virtual Result<void> remove(const api::VolumeSpec& volume) = 0;

    virtual api::PageCounts pages(const api::VolumeSpec& volume) const = 0;
    virtual api::StorageStats stats() const = 0;
    /// As ZramStore's.
    virtual void mark_idle() = 0;
    virtual Result<ZramCompaction> compact_idle(Pages budget) = 0;
    /// What the store itself knows of a volume: not what an overlay lies over.
    struct Kept {
        std::string name;
        std::optional<api::VolumeKind> kind;  // none: made by a daemon that did not say it yet
        Bytes capacity;
        std::string domain;
    };
    virtual std::vector<Kept> kept() const = 0;
};

}  // namespace pepita::storage::daemon
