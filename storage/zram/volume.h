#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/domain.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {

class FrozenVolume;

/// The page tables of one volume. An entry is changed under the lock of its stripe, and what it
/// refers to lives at least as long as that lock is held.
///
/// Locks, in this order: stripes (by number), tables, what is frozen, a shard, packing, the memory
/// file.
class Volume final : public ZramVolume, public std::enable_shared_from_this<Volume> {
public:
    /// Makes one in a frame of its own. Errors: ResourceExhausted.
    static Result<std::shared_ptr<Volume>> create(MemoryFile& file, std::shared_ptr<Domain> domain,
                                                  const ZramStore::VolumeOptions& options);
    /// Takes over the one in `frame`, which was taken; references are adopted.
    /// Errors: DataLoss, ResourceExhausted.
    static Result<std::shared_ptr<Volume>> open(MemoryFile& file, std::shared_ptr<Domain> domain,
                                                std::uint32_t frame);

    const std::string& name() const override { return name_; }
    const std::string& domain() const override { return domain_->name(); }
    ZramContent content() const override { return what_; }
    Pages capacity() const override { return Pages(capacity_.load(std::memory_order_acquire)); }
    IoStatus read(Pages page, std::span<std::byte> into) const override;
    IoStatus write(Pages page, std::span<const std::byte> from) override;
    IoStatus read_part(Pages page, std::size_t offset, std::span<std::byte> into) const override;
    IoStatus write_part(Pages page, std::size_t offset, std::span<const std::byte> from,
                        std::span<const std::byte> beneath = {}) override;
    IoStatus discard(Pages first, Pages count) override;
    IoStatus write_zeroes(Pages first, Pages count) override;
    bool contains(Pages page) const override;
    Result<void> resize(Pages capacity) override;
    ZramStatistics statistics() const override;
    Result<void> begin_filling() override;
    void end_filling(Filled filled) override;
    Result<std::unique_ptr<ZramFrozen>> freeze() override;

    /// Empties one whose filling was not ended. For who opens a store, once all is adopted.
    void drop_if_filling();

    /// Discards all, and gives its frame back. Everything fails from then on.
    void remove();

    /// Of the memory limit, for an empty one of that size.
    static std::uint64_t cost_of(Pages capacity);

    const std::shared_ptr<Domain>& trust() const { return domain_; }

private:
    friend class FrozenVolume;
    static constexpr std::size_t kStripes = 32;        // TSan follows no more than 63 locks at once
    static constexpr std::uint64_t kPagesInARow = 16;  // of one stripe

    struct Table {
        std::atomic<std::uint32_t> live;     // entries that are not absent
        std::atomic<std::uint16_t> touched;  // pages that were charged, a bit for each
    };

    Volume(MemoryFile& file, std::shared_ptr<Domain> domain, std::uint32_t frame, std::string name,
           Mapping tables);

    VolumeFrame& frame() const { return file_.at<VolumeFrame>(frame_); }
    std::mutex& stripe_of(std::uint64_t page) const {
        return stripes_[page / kPagesInARow % kStripes];
    }
    Table& table(std::uint64_t index) const;
    std::atomic_ref<std::uint32_t> table_frame(std::uint64_t index) const;
    /// Where the page's entry stands; nullptr where it has no table.
    std::uint64_t* find_word(std::uint64_t page) const;
    /// The same, but a missing table is made; nullptr without space.
    std::uint64_t* make_word(std::uint64_t page);
    Entry entry_at(std::uint64_t page) const;
    bool is_inside(std::uint64_t page) const { return page < capacity().value(); }
    bool are_inside(Pages first, Pages count) const;
    /// Under the page's lock. Gives what was there before, whose reference is the caller's then.
    std::optional<Entry> exchange(std::uint64_t page, const Stored& stored);
    IoStatus set(std::uint64_t page, const Stored& stored);
    /// Under the page's lock, of what was replaced there: what the caller has to drop.
    Entry left_to_drop(std::uint64_t page, Entry before);
    void drop(Entry entry);
    /// The first page from `page` on, below `end`, of a part of a table that was written; or `end`.
    std::uint64_t next_written(std::uint64_t page, std::uint64_t end) const;
    void thaw();
    void lock_all() const;
    void unlock_all() const;
    void wait_for_users() const;
    void clear(std::uint64_t first, std::uint64_t end);
    void drop_table_if_empty(std::uint64_t index);
    void count(const Stored& stored, bool is_more);
    void set_phase(VolumePhase phase);
    Result<void> adopt_table(std::uint64_t index);

    MemoryFile& file_;
    std::shared_ptr<Domain> domain_;
    std::uint32_t frame_;
    std::string name_;
    ZramContent what_;
    std::atomic<std::uint64_t> capacity_;  // 0 once removed
    mutable std::array<std::mutex, kStripes> stripes_;
    FrozenVolume* frozen_ = nullptr;  // changed under all stripes, used under any
    std::mutex sizing_;               // one resize or removal at a time
    std::mutex tables_mutex_;
    Mapping tables_;  // a Table for each that may be; costs memory where it was written
    alignas(64) std::atomic<std::uint64_t> zero_{0}, same_{0}, content_{0}, raw_{0}, packed_{0};
};

}  // namespace pepita::storage::zram
