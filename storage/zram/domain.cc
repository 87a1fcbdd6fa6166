#include "storage/zram/domain.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/dedup_index.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"
#include "storage/zram/shard.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {
namespace {

// A block that saves less than this is not worth being unpacked at each read.
constexpr std::size_t kPackedMax = kPageBytes - 128;

}  // namespace

std::optional<std::uint8_t> same_byte(PageView page) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::memcpy(&first, page.data(), sizeof(first));
    std::memcpy(&last, page.data() + kPageBytes - sizeof(last), sizeof(last));
    const auto byte = std::to_integer<std::uint8_t>(page[0]);
    // Most pages say at their two ends already that they are not.
    if (first != byte * 0x0101010101010101ULL || last != first ||
        std::memcmp(page.data(), page.data() + 1, kPageBytes - 1) != 0) {
        return std::nullopt;
    }
    return byte;
}

Domain::Domain(std::string name, std::uint64_t salt, std::shared_ptr<MemoryFile> file,
               std::shared_ptr<FrameTable> frames, std::shared_ptr<ColdCodec> cold)
    : name_(std::move(name)),
      salt_(salt),
      file_(std::move(file)),
      frames_(std::move(frames)),
      cold_(std::move(cold)),
      account_(*file_) {
    for (std::size_t i = 0; i < kShards; ++i) {
        shards_[i] = std::make_unique<Shard>(account_, *frames_, *cold_, salt,
                                             static_cast<std::uint16_t>(i));
    }
}

Domain::~Domain() = default;

std::optional<Stored> Domain::put(PageView page) {
    if (const std::optional<std::uint8_t> byte = same_byte(page)) {
        return Stored{.entry = Entry::same(*byte)};
    }
    const XXH64_hash_t hash = XXH3_64bits_withSeed(page.data(), page.size(), salt_);
    const auto short_hash = static_cast<std::uint32_t>(hash);
    Shard& shard = *shards_[(hash >> 32U) % kShards];
    Shard::Age age = 0;
    std::optional<Object> object = shard.share(short_hash, page, age);
    if (!object) {
        __attribute__((uninitialized)) std::array<std::byte, kPackedMax + kLz4Spare> packed;
        const std::size_t size = lz4_compress_page(page, packed);
        const auto content = size != 0 && size <= kPackedMax
                                 ? std::span<const std::byte>(packed).first(size)
                                 : std::span<const std::byte>(page);
        object = shard.add(short_hash, page, content, age);
    }
    if (!object) {
        return std::nullopt;
    }
    return Stored{.entry = Entry::object(object->id.frame, object->id.slot), .size = object->size};
}

bool Domain::get(Entry entry, PageSpan into) const {
    if (entry.is_object()) {
        const ObjectId id{.frame = entry.frame(), .slot = entry.slot()};
        return shards_[(*frames_)[id.frame].shard]->read(id, into);
    }
    std::memset(into.data(), entry.byte(), kPageBytes);  // 0 where it is absent
    return true;
}

Stored Domain::look(Entry entry) const {
    if (!entry.is_object()) {
        return {.entry = entry};
    }
    const ObjectId id{.frame = entry.frame(), .slot = entry.slot()};
    return {.entry = entry, .size = shards_[(*frames_)[id.frame].shard]->size_of(id)};
}

Stored Domain::release(Entry entry) {
    if (!entry.is_object()) {
        return {.entry = entry};
    }
    const ObjectId id{.frame = entry.frame(), .slot = entry.slot()};
    return {.entry = entry, .size = shards_[(*frames_)[id.frame].shard]->release(id)};
}

bool Domain::adopt_frame(std::uint32_t number, const MemoryFile::Written& physical,
                         std::uint16_t shard) {
    return shard < kShards && shards_[shard]->adopt(number, physical);
}

std::uint16_t Domain::adopt_reference(Entry entry) {
    if (entry.frame() == 0 || entry.frame() >= file_->frames() ||
        (*frames_)[entry.frame()].physical == 0) {
        return 0;
    }
    const FrameInfo& info = (*frames_)[entry.frame()];
    if (file_->at<ObjectFrame>(info.physical).salt != salt_) {
        return 0;
    }
    return shards_[info.shard]->adopt_reference({.frame = entry.frame(), .slot = entry.slot()});
}

ZramSharing Domain::sharing() const {
    ZramSharing sum;
    for (const auto& shard : shards_) {
        const ZramSharing one = shard->sharing();
        sum.objects += one.objects;
        sum.shared += one.shared;
        sum.payload = sum.payload + one.payload;
        sum.cold += one.cold;
        sum.cold_payload = sum.cold_payload + one.cold_payload;
    }
    return sum;
}

void Domain::mark_idle() {
    for (const auto& shard : shards_) {
        shard->mark_idle();
    }
}

ZramCompaction Domain::compact_idle(std::uint64_t budget) {
    ZramCompaction sum{.pages = 0, .saved = {}, .is_done = true};
    for (const auto& shard : shards_) {
        const ZramCompaction one = shard->compact_idle(budget - std::min(budget, sum.pages));
        sum.pages += one.pages;
        sum.saved = sum.saved + one.saved;
        sum.is_done = sum.is_done && one.is_done;
    }
    return sum;
}

}  // namespace pepita::storage::zram
