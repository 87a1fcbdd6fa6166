#include "storage/zram/frozen_volume.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/volume.h"

namespace pepita::storage::zram {

FrozenVolume::FrozenVolume(std::shared_ptr<Volume> volume)
    : volume_(std::move(volume)), capacity_(volume_->capacity()) {}

FrozenVolume::~FrozenVolume() {
    volume_->thaw();
    drop_all();
}

bool FrozenVolume::keep(std::uint64_t page, Entry before) {
    if (page >= capacity_.value() || page < at_.load(std::memory_order_relaxed)) {
        return false;
    }
    const std::scoped_lock lock(mutex_);
    if (is_lost_ || kept_.contains(page)) {
        return false;
    }
    if (!volume_->trust()->account().charge(kKeptBytes)) {
        is_lost_ = true;  // the writer goes on, and next() says so
        return false;
    }
    kept_.emplace(page, before);
    return true;
}

/// The next page that may have been there: in a part of a table that was written, or kept.
std::uint64_t FrozenVolume::next_place() const {
    // The table first: what was taken out of it since is kept by then.
    const std::uint64_t at = at_.load(std::memory_order_relaxed);
    const std::uint64_t written = volume_->next_written(at, capacity_.value());
    const std::scoped_lock lock(mutex_);
    const auto kept = kept_.lower_bound(at);
    return kept == kept_.end() ? written : std::min(written, kept->first);
}

std::optional<Entry> FrozenVolume::take(std::uint64_t page) {
    const std::scoped_lock lock(mutex_);
    const auto found = kept_.find(page);
    if (found == kept_.end()) {
        return std::nullopt;
    }
    const Entry entry = found->second;
    kept_.erase(found);
    volume_->trust()->account().refund(kKeptBytes);
    return entry;
}

Result<std::optional<Pages>> FrozenVolume::next(std::span<std::byte> into) {
    CHECK(into.size() == kPageBytes);
    const PageSpan room(into.data(), kPageBytes);
    while (true) {
        const std::uint64_t page = next_place();
        if (page >= capacity_.value()) {
            at_.store(page, std::memory_order_relaxed);
            break;
        }
        Entry entry;
        bool is_kept = false;
        bool is_read = true;
        {
            const std::scoped_lock lock(volume_->stripe_of(page));
            const std::optional<Entry> kept = take(page);
            is_kept = kept.has_value();
            entry = is_kept ? *kept : volume_->entry_at(page);
            at_.store(page + 1, std::memory_order_relaxed);
            if (!entry.is_absent()) {
                is_read = volume_->trust()->get(entry, room);
            }
        }
        if (is_kept) {
            (void)volume_->trust()->release(entry);
        }
        if (!is_read) {
            return Error(Code::DataLoss, "page " + std::to_string(page) + " is damaged");
        }
        if (!entry.is_absent()) {
            return std::optional(Pages(page));
        }
    }
    const std::scoped_lock lock(mutex_);
    if (is_lost_) {
        return Error(Code::ResourceExhausted, "the store had no room to keep what was replaced");
    }
    return std::optional<Pages>();
}

void FrozenVolume::drop_all() {
    const std::scoped_lock lock(mutex_);
    for (const auto& [page, entry] : kept_) {
        (void)volume_->trust()->release(entry);
    }
    volume_->trust()->account().refund(kept_.size() * kKeptBytes);
    kept_.clear();
}

}  // namespace pepita::storage::zram
