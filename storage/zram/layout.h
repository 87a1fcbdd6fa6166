#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "storage/zram_store.h"

// The memory file of a store: frames of 64 KiB. What each is says its first word, but for page
// tables, whose first word is an entry; no entry looks like another frame's first word.
//
//   superblock   frame 0
//   volume       name, domain, salt, capacity, and where its page tables are
//   page table   kEntriesPerTable entries, one word for each page of 4 KiB
//   objects      packed contents, and from the frame's end downward a slot for each
//
// Page tables name objects by a logical frame and a slot. A logical frame's number is written in
// the physical frame that holds it, so a frame can be packed anew somewhere else: the copy is
// complete before it says what it is, and of two that claim to be one the younger counts.
namespace pepita::storage::zram {

inline constexpr std::uint64_t kFrameBytes = 64ULL * 1024;

/// The low two bits of each are set; a page table's entry never has that.
enum class FrameKind : std::uint64_t {
    Free = 0x0a'70'65'70'69'74'61'03,
    Superblock = 0x0a'70'65'70'69'74'61'07,
    Volume = 0x0a'70'65'70'69'74'61'0b,
    Objects = 0x0a'70'65'70'69'74'61'0f,
};

/// Says what a frame is, once all else of it is written.
inline void publish(FrameKind& kind, FrameKind value) {
    std::atomic_ref<FrameKind>(kind).store(value, std::memory_order_release);
}

inline constexpr std::uint32_t kFormatVersion = 2;

struct Superblock {
    FrameKind kind;
    std::uint32_t version;
    std::uint32_t frame_bytes;
    std::uint64_t frames;  // that the file has room for
    std::uint64_t limit;   // bytes
};
static_assert(sizeof(Superblock) == 32);

inline constexpr std::size_t kNameRoom = 64;  // and a zero at the end
inline constexpr std::uint64_t kEntriesPerTable = kFrameBytes / sizeof(std::uint64_t);
inline constexpr std::size_t kTablesMax = (kFrameBytes - 512) / sizeof(std::uint32_t);

enum class VolumePhase : std::uint32_t {
    Whole = 0,
    Filling = 1,  // what it holds is nothing until it is whole
};

struct VolumeFrame {
    FrameKind kind;
    std::uint64_t salt;      // the domain's; all of its volumes have the same
    std::uint64_t capacity;  // pages
    ZramContent content;     // Unknown: made by who did not say yet
    VolumePhase phase;
    char name[kNameRoom];              // NOLINT(*-avoid-c-arrays): a layout
    char domain[kNameRoom];            // NOLINT(*-avoid-c-arrays): a layout
    std::uint8_t reserved[352];        // NOLINT(*-avoid-c-arrays): a layout
    std::uint32_t tables[kTablesMax];  // NOLINT(*-avoid-c-arrays): a layout; frames, 0 for none
};
static_assert(sizeof(VolumeFrame) == kFrameBytes);

/// A page table's entry. 0: absent.
class Entry {
public:
    constexpr Entry() = default;
    explicit constexpr Entry(std::uint64_t word) : word_(word) {}
    static constexpr Entry same(std::uint8_t byte) {
        return Entry((static_cast<std::uint64_t>(byte) << 8U) | kSame);
    }
    static constexpr Entry object(std::uint32_t frame, std::uint16_t slot) {
        return Entry((static_cast<std::uint64_t>(frame) << 16U) |
                     (static_cast<std::uint64_t>(slot) << 2U) | kObject);
    }

    constexpr std::uint64_t word() const { return word_; }
    constexpr bool is_absent() const { return word_ == 0; }
    constexpr bool is_same() const { return (word_ & kKindMask) == kSame; }
    constexpr bool is_object() const { return (word_ & kKindMask) == kObject; }
    constexpr std::uint8_t byte() const { return static_cast<std::uint8_t>(word_ >> 8U); }
    constexpr std::uint32_t frame() const { return static_cast<std::uint32_t>(word_ >> 16U); }
    constexpr std::uint16_t slot() const {
        return static_cast<std::uint16_t>((word_ >> 2U) & kSlotMask);
    }
    /// Whether it is what one of the above makes.
    constexpr bool is_sound() const {
        return is_absent() || (is_same() && *this == same(byte())) ||
               (is_object() && *this == object(frame(), slot()));
    }
    friend constexpr bool operator==(Entry, Entry) = default;

    static constexpr std::uint64_t kSlotMask = 0xfff;

private:
    static constexpr std::uint64_t kKindMask = 3;
    static constexpr std::uint64_t kSame = 1;
    static constexpr std::uint64_t kObject = 2;
    std::uint64_t word_ = 0;
};
static_assert(sizeof(Entry) == 8);

struct ObjectFrame {
    FrameKind kind;
    std::uint64_t generation;  // of two frames with one number the higher counts
    std::uint32_t number;      // logical
    std::uint16_t shard;
    std::uint16_t slots;  // so many stand at the frame's end, free ones included
    std::uint64_t salt;   // the domain's
    std::uint32_t tail;   // where the next object goes
    std::uint32_t unused;
};
static_assert(sizeof(ObjectFrame) == 40);

/// What an object is, beside its size.
enum class Mark : std::uint16_t {
    Cold = 0x8000,   // packed with zstd, behind the size that it had before; see ColdHeader
    Idle = 0x4000,   // neither read nor written since it was marked
    Stays = 0x2000,  // zstd gains nothing
};

struct Slot {
    std::uint32_t references;  // 0: free
    std::uint32_t hash;
    std::uint16_t offset;
    std::uint16_t size_and_marks;

    static constexpr std::uint16_t kSizeMask = 0x1fff;
    /// kPageSize: as it is; less: an LZ4 block. Of one that is cold: see Mark.
    constexpr std::uint16_t size() const { return size_and_marks & kSizeMask; }
    constexpr bool is(Mark mark) const {
        return (size_and_marks & static_cast<std::uint16_t>(mark)) != 0;
    }
    constexpr void set(Mark mark) { size_and_marks |= static_cast<std::uint16_t>(mark); }
    constexpr void clear(Mark mark) {
        size_and_marks &= static_cast<std::uint16_t>(~static_cast<std::uint16_t>(mark));
    }
};
static_assert(sizeof(Slot) == 12);

/// What a cold object begins with. A page counts with its size of before in its volume's
/// statistics, so that they stay exact while contents get colder.
struct ColdHeader {
    std::uint16_t size_before;
};
static_assert(sizeof(ColdHeader) == 2);

inline constexpr std::uint32_t kSlotsMax = 1024;
static_assert(kSlotsMax <= Entry::kSlotMask + 1);

}  // namespace pepita::storage::zram
