#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/dedup_index.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {

/// An object that someone has a reference to.
struct Object {
    ObjectId id;
    std::uint16_t size = 0;  // bytes that it is packed to; of a cold one, was packed to before
};

/// A part of a trust domain's objects: those whose hash belongs here.
///
/// Objects of any size lie one behind the other in frames. A new one goes to the frame that it
/// fills best; where its room is in pieces, the frame is packed anew in another place. So there
/// are no size classes, and nearly no room is lost.
///
/// Thread: any.
class Shard {
public:
    /// What it borrows outlives it.
    Shard(Account& account, FrameTable& frames, ColdCodec& cold, std::uint64_t salt,
          std::uint16_t number)
        : account_(account),
          frames_(frames),
          cold_codec_(cold),
          index_(account),
          salt_(salt),
          number_(number) {}

    /// How many objects were ever added: who saw the same number twice need not look again.
    using Age = std::uint64_t;

    /// The object that is this page, with one more reference; or none, as of `age`.
    std::optional<Object> share(std::uint32_t hash, PageView page, Age& age);
    /// share() again if need be; else adds the page, packed to `content`. None without space.
    std::optional<Object> add(std::uint32_t hash, PageView page, std::span<const std::byte> content,
                              Age age);
    /// False where the object is damaged.
    bool read(ObjectId id, PageSpan into) const;
    /// As statistics count it.
    std::uint16_t size_of(ObjectId id) const;
    /// Takes one reference back, and gives the object's size.
    std::uint16_t release(ObjectId id);

    ZramSharing sharing() const;

    // Not at the same time as each other.

    /// Marks what is there; whoever reads or adds it takes its mark away.
    void mark_idle();
    /// Packs what still has its mark with zstd, about `budget` pages; goes on where the last call
    /// ended. Is done where none was left. The codec is prepared.
    ZramCompaction compact_idle(std::uint64_t budget);

    // For who opens a store that another process left; in this order, before anything above.

    /// The frame is this shard's, and its objects have no references.
    /// False where it contradicts itself, or there is no space.
    bool adopt(std::uint32_t number, const MemoryFile::Written& physical);
    /// One more reference, and the object's size; 0 where there is no such object.
    std::uint16_t adopt_reference(ObjectId id);
    /// Drops objects without references, and the frame where all are. False without space.
    bool settle(std::uint32_t number);

private:
    /// A copy of what was idle, to be packed without the lock.
    struct IdleObject {
        std::uint16_t slot = 0;
        Slot as_it_was{};
        std::vector<std::byte> content;
    };
    struct ColdObject {
        Slot slot{};
        std::vector<std::byte> content;
    };

    static constexpr std::uint32_t kBucketBytes = 128;
    static constexpr std::size_t kBuckets = kFrameBytes / kBucketBytes + 1;

    ObjectFrame& frame_of(std::uint32_t number) const {
        return account_.file().at<ObjectFrame>(frames_[number].physical);
    }
    static Slot& slot_of(ObjectFrame& frame, std::uint32_t slot);
    static std::span<const std::byte> content_of(ObjectFrame& frame, const Slot& slot);
    /// The size that statistics of volumes go by.
    static std::uint16_t counted_size(ObjectFrame& frame, const Slot& slot);
    static bool is_sound_if_cold(ObjectFrame& frame, const Slot& slot);
    bool unpack(const Slot& slot, std::span<const std::byte> content, PageSpan into) const;
    bool is_equal(const Slot& slot, std::span<const std::byte> content, PageView page) const;
    /// One more reference to the first with that hash of which `is_it` says so.
    template <typename IsIt>
    std::optional<Object> find(std::uint32_t hash, const IsIt& is_it);
    std::optional<Object> find_equal(std::uint32_t hash, PageView page);
    std::optional<ObjectId> append(std::uint32_t hash, std::span<const std::byte> content);
    std::uint32_t frame_with_room(std::size_t bytes);
    std::uint32_t new_frame();
    void drop_frame(std::uint32_t number);
    using Replacements = std::map<std::uint16_t, ColdObject>;  // by slot
    bool pack(std::uint32_t number, std::size_t room, const Replacements& replacements = {});
    std::vector<IdleObject> copy_idle(std::uint32_t& number);
    ColdObject make_cold(const IdleObject& object);
    std::uint64_t switch_to_cold(std::uint32_t number, const std::vector<IdleObject>& objects,
                                 Replacements replacements);
    /// Charges, and reserves, what a frame needs whose last object and last slot are new.
    bool charge_pages(FrameInfo& info, std::size_t tail, std::size_t slots);
    void link(std::uint32_t number);
    void unlink(std::uint32_t number);

    mutable AdaptiveMutex mutex_;  // guards all below
    Account& account_;
    FrameTable& frames_;
    ColdCodec& cold_codec_;
    DedupIndex index_;
    std::uint64_t salt_;
    std::uint16_t number_;
    Age age_ = 0;
    std::array<std::uint32_t, kBuckets> buckets_{};  // first frame of each; by free bytes
    std::uint64_t objects_ = 0;
    std::uint64_t references_ = 0;
    std::uint64_t payload_ = 0;
    std::uint64_t cold_objects_ = 0;
    std::uint64_t cold_payload_ = 0;
    std::size_t compact_at_ = 0;  // place in the index
};

}  // namespace pepita::storage::zram
