#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

namespace pepita::storage {

/// What a volume, a trust domain or a whole store holds, and what that costs. Pages are 4 KiB.
struct ZramStatistics {
    std::uint64_t stored = 0;   // pages written and not discarded; the sum of the next three
    std::uint64_t zero = 0;     // of which: zeros; nothing is stored for them
    std::uint64_t same = 0;     // of which: one other byte over and over; nothing either
    std::uint64_t content = 0;  // of which: of any other content
    std::uint64_t raw = 0;      // of `content`: kept as they are, because LZ4 gains too little
    Bytes packed;               // what LZ4 packs `content` to, each page counted by itself
    friend bool operator==(const ZramStatistics&, const ZramStatistics&) = default;
};

/// What equal pages save: of a domain or a whole store, whose pages are shared.
struct ZramSharing {
    std::uint64_t objects = 0;  // different contents
    std::uint64_t shared = 0;   // pages of `content` beyond the first of each object
    Bytes payload;              // what the objects are packed to
    std::uint64_t cold = 0;     // of `objects`: packed with zstd
    Bytes cold_payload;         // of `payload`: these
    friend bool operator==(const ZramSharing&, const ZramSharing&) = default;
};

struct ZramUse {
    ZramStatistics pages;
    ZramSharing sharing;
    Bytes used;      // all that the store takes: memory file and heap, tables and indexes included
    Bytes metadata;  // of `used`: all but the payload
    Bytes limit;
};

/// What a call of ZramStore::compact_idle() did.
struct ZramCompaction {
    std::uint64_t pages = 0;  // contents that were packed with zstd, in vain or not
    Bytes saved;              // of the payload
    bool is_done = false;     // nothing idle is left
};

class ZramStore;

/// What the pages of a volume are to whoever has them; the store only keeps it.
enum class ZramContent : std::uint32_t {
    Unknown = 0,
    Disk = 1,     // a whole disk: what is absent is zeros
    Overlay = 2,  // what was written over another disk: what is absent is that one's
};

/// A volume's pages as they were at one moment, while others go on writing to it, resize it or
/// remove it. What they replace stays in the store, and counts, until it was read here or this
/// goes. Thread: one at a time.
class ZramFrozen {
public:
    ZramFrozen() = default;
    virtual ~ZramFrozen() = default;
    ZramFrozen(const ZramFrozen&) = delete;
    ZramFrozen& operator=(const ZramFrozen&) = delete;
    ZramFrozen(ZramFrozen&&) = delete;
    ZramFrozen& operator=(ZramFrozen&&) = delete;

    virtual Pages capacity() const = 0;
    /// The next page there was, in ascending order; none at the end. Errors: DataLoss where it is
    /// damaged; ResourceExhausted where the store was full when something had to be kept, at the
    /// latest at the end: what was read then is of no moment.
    virtual Result<std::optional<Pages>> next(std::span<std::byte> into) = 0;
};

/// One device's pages in a store. Thread: any; two writes of one page are done in some order.
class ZramVolume {
public:
    virtual ~ZramVolume() = default;
    ZramVolume(const ZramVolume&) = delete;
    ZramVolume& operator=(const ZramVolume&) = delete;
    ZramVolume(ZramVolume&&) = delete;
    ZramVolume& operator=(ZramVolume&&) = delete;

    virtual const std::string& name() const = 0;
    virtual const std::string& domain() const = 0;
    virtual ZramContent content() const = 0;
    virtual Pages capacity() const = 0;

    // Pages are named by their index; kPageSize bytes each. Failed where a page is not below
    // capacity(), or the volume was removed.

    /// A page that is absent reads as zeros.
    virtual IoStatus read(Pages page, std::span<std::byte> into) const = 0;
    /// NoSpace where the store is full; the page then keeps what it had.
    virtual IoStatus write(Pages page, std::span<const std::byte> from) = 0;
    /// `offset` and the bytes behind it lie in the page.
    virtual IoStatus read_part(Pages page, std::size_t offset, std::span<std::byte> into) const = 0;
    /// Nobody sees half of it. NoSpace as write(). The rest of a page that is absent is what lies
    /// `beneath` it: a page, or nothing for zeros.
    virtual IoStatus write_part(Pages page, std::size_t offset, std::span<const std::byte> from,
                                std::span<const std::byte> beneath = {}) = 0;
    /// The pages are absent again, and their memory is free at once.
    virtual IoStatus discard(Pages first, Pages count) = 0;
    /// The pages are present, and zeros. NoSpace where not even the page table has room.
    virtual IoStatus write_zeroes(Pages first, Pages count) = 0;

    /// Whether the page was written since it was last discarded.
    virtual bool contains(Pages page) const = 0;

    /// Pages beyond a smaller capacity are discarded. Errors: InvalidArgument for 0 or more than
    /// kCapacityMax; NotFound where the volume was removed.
    virtual Result<void> resize(Pages capacity) = 0;
    static constexpr Pages kCapacityMax{32'000'000};  // 122 GiB

    virtual ZramStatistics statistics() const = 0;

    /// From here on, what is written counts only once it was all written: who opens the store of a
    /// process that was killed before end_filling() finds the volume empty.
    /// Errors: FailedPrecondition where it holds something; NotFound where it was removed.
    virtual Result<void> begin_filling() = 0;
    enum class Filled : std::uint8_t { Whole, InVain };
    /// In vain: the volume is empty again.
    virtual void end_filling(Filled filled) = 0;

    /// Errors: FailedPrecondition where another is still there; NotFound where the volume was
    /// removed.
    virtual Result<std::unique_ptr<ZramFrozen>> freeze() = 0;

protected:
    ZramVolume() = default;
};

/// Pages of many volumes in compressed memory, each content once in a trust domain.
///
/// All that matters is in one memory file, and is consistent there after every instruction: who
/// has the file opens the store again when its process was killed. Two stores must not have one
/// file open at the same time; one is open as long as it or any of its volumes is held.
///
/// Thread: any.
class ZramStore {
public:
    /// More than any one node has use for; what is mapped is address space alone.
    static constexpr Bytes kLimitMin = 1_MiB;
    static constexpr Bytes kLimitMax{1ULL << 40U};
    static constexpr std::size_t kNameMax = 63;

    struct VolumeOptions {
        std::string name;  // 1 to kNameMax of [A-Za-z0-9._-]
        Pages capacity;
        std::string domain = "default";  // whose pages may be shared with each other; as `name`
        ZramContent content = ZramContent::Disk;
    };

    /// An empty store. `file` is an empty memfd, or file of a tmpfs; it gets as long as it may
    /// become, and costs what is written. Never more than `limit` is used; where the file system
    /// has less than that, it is full earlier, and says so in the same way.
    /// Errors: InvalidArgument for a limit out of range; ResourceExhausted where the file system
    /// has no room at all; ftruncate(2)'s, mmap(2)'s.
    static Result<std::shared_ptr<ZramStore>> create(Fd file, Bytes limit);

    /// The store that a process left in `file`. It takes no memory of the file system.
    /// Nothing in the file is believed. Errors: DataLoss, naming what is wrong with it.
    static Result<std::shared_ptr<ZramStore>> open(Fd file);

    ZramStore(const ZramStore&) = delete;
    ZramStore& operator=(const ZramStore&) = delete;
    ZramStore(ZramStore&&) = delete;
    ZramStore& operator=(ZramStore&&) = delete;
    virtual ~ZramStore() = default;

    /// Errors: AlreadyExists; InvalidArgument; ResourceExhausted where the store is full.
    virtual Result<std::shared_ptr<ZramVolume>> create_volume(const VolumeOptions& options) = 0;
    /// Errors: NotFound.
    virtual Result<std::shared_ptr<ZramVolume>> find(const std::string& name) const = 0;
    virtual std::vector<std::shared_ptr<ZramVolume>> volumes() const = 0;
    /// Its memory is free when this returns; who still holds it finds it empty and failing.
    /// Errors: NotFound.
    virtual Result<void> remove(const std::string& name) = 0;

    // The cold tier: contents that are idle get smaller and slower to read. Both may be called
    // while others read and write.

    /// Marks all contents as idle. Who reads one, or writes it once more, takes its mark away.
    virtual void mark_idle() = 0;
    /// Packs contents that still have their mark with zstd, about `budget` of them; the next call
    /// goes on where this one ended.
    /// Cost: from the first call on, 1 MiB of the memory limit.
    /// Errors: ResourceExhausted where the memory limit has no room for that.
    virtual Result<ZramCompaction> compact_idle(Pages budget) = 0;

    virtual ZramUse use() const = 0;
    /// Errors: NotFound where no volume is of that domain.
    virtual Result<ZramUse> use_of(const std::string& domain) const = 0;

protected:
    ZramStore() = default;
};

}  // namespace pepita::storage
