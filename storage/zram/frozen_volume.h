#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/layout.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {

class Volume;

/// What a volume held at one moment. From then on whoever replaces an entry that was not read yet
/// hands it over, with its reference; so the volume goes on at once, and what is kept costs an
/// entry for each page that was replaced meanwhile.
class FrozenVolume final : public ZramFrozen {
public:
    explicit FrozenVolume(std::shared_ptr<Volume> volume);
    FrozenVolume(const FrozenVolume&) = delete;
    FrozenVolume& operator=(const FrozenVolume&) = delete;
    FrozenVolume(FrozenVolume&&) = delete;
    FrozenVolume& operator=(FrozenVolume&&) = delete;
    ~FrozenVolume() override;

    Pages capacity() const override { return capacity_; }
    Result<std::optional<Pages>> next(std::span<std::byte> into) override;

    /// Under the page's lock, of what its entry was: whether that is kept here, with its reference.
    bool keep(std::uint64_t page, Entry before);

private:
    /// Of the heap, for a page that is kept: a node of the map, about.
    static constexpr std::uint64_t kKeptBytes = 64;

    std::uint64_t next_place() const;
    /// Under the page's lock: what it was, and whether its reference was kept here.
    std::optional<Entry> take(std::uint64_t page);
    void drop_all();

    std::shared_ptr<Volume> volume_;
    Pages capacity_;
    // Pages before it were read. One thread writes it, under the lock of the page that it passes.
    std::atomic<std::uint64_t> at_{0};
    mutable std::mutex mutex_;
    std::map<std::uint64_t, Entry> kept_;  // guarded by mutex_
    bool is_lost_ = false;                 // guarded by mutex_; there was no memory to keep one
};

}  // namespace pepita::storage::zram
