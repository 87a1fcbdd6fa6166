#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "storage/zram/cold_codec.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram/shard.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {

/// What a page table's entry stands for, as statistics see it.
struct Stored {
    Entry entry;
    std::uint16_t size = 0;  // bytes, of an object; each reference counted by itself
};

/// Volumes that trust each other: a content is stored once for all of them. Whether somebody
/// outside has the same content cannot be found out, neither by time nor by space: hashes are
/// salted, and nothing is shared.
///
/// Thread: any.
class Domain {
public:
    /// Shares the three with the store, which may go before the last volume does.
    Domain(std::string name, std::uint64_t salt, std::shared_ptr<MemoryFile> file,
           std::shared_ptr<FrameTable> frames, std::shared_ptr<ColdCodec> cold);
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;
    Domain(Domain&&) = delete;
    Domain& operator=(Domain&&) = delete;
    ~Domain();

    const std::string& name() const { return name_; }
    std::uint64_t salt() const { return salt_; }
    Account& account() { return account_; }

    /// The page, stored or shared, with a reference that is the caller's. None without space.
    std::optional<Stored> put(PageView page);
    /// False where what is stored is damaged.
    bool get(Entry entry, PageSpan into) const;
    /// What an entry stands for, whose reference is the caller's and stays that.
    Stored look(Entry entry) const;
    /// Gives a reference back; of an entry that is no object nothing has to be given back.
    Stored release(Entry entry);

    std::uint64_t used() const { return account_.used(); }
    ZramSharing sharing() const;
    // As of Shard; the budget is for all shards.
    void mark_idle();
    ZramCompaction compact_idle(std::uint64_t budget);

    // For who opens a store, in this order; see Shard.
    bool adopt_frame(std::uint32_t number, const MemoryFile::Written& physical,
                     std::uint16_t shard);
    /// The object's size; 0 where the entry refers to none of this domain.
    std::uint16_t adopt_reference(Entry entry);
    bool settle(std::uint32_t number) { return shards_[(*frames_)[number].shard]->settle(number); }

    static constexpr std::size_t kShards = 32;

    /// What a domain takes of the heap before it holds anything.
    static std::uint64_t cost() { return sizeof(Domain) + kShards * sizeof(Shard); }

private:
    std::string name_;
    std::uint64_t salt_;
    std::shared_ptr<MemoryFile> file_;
    std::shared_ptr<FrameTable> frames_;
    std::shared_ptr<ColdCodec> cold_;
    Account account_;
    std::array<std::unique_ptr<Shard>, kShards> shards_;
};

/// The byte that all of the page is, if it is one byte.
std::optional<std::uint8_t> same_byte(PageView page);

}  // namespace pepita::storage::zram
