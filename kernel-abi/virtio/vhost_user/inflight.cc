#include "kernel-abi/virtio/vhost_user/inflight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"

// A kill lets through the stores of one thread up to some instruction, in the order of the program.
// So it is the compiler alone that has to keep its hands off: each store here is a release.

namespace pepita::virtio {
namespace {

using Header = abi::VhostUserInflightSplit;
using Desc = abi::VhostUserInflightDesc;

constexpr std::size_t kRegionAlign = 64;

// SAFETY: open() checked size and alignment of the region; offsets are those of fields in its
// header or of an entry whose index is below size_. may_alias: the bytes are nobody's object.
template <typename T>
T* field_at(std::span<std::byte> region, std::size_t offset) {
    return reinterpret_cast<T*>(region.subspan(offset, sizeof(T)).data());
}
using U8 [[gnu::may_alias]] = std::uint8_t;
using U16 [[gnu::may_alias]] = std::uint16_t;
using U64 [[gnu::may_alias]] = std::uint64_t;

template <typename T>
T load(std::span<std::byte> region, std::size_t offset) {
    return __atomic_load_n(field_at<T>(region, offset), __ATOMIC_RELAXED);
}
template <typename T>
void store(std::span<std::byte> region, std::size_t offset, T value) {
    __atomic_store_n(field_at<T>(region, offset), value, __ATOMIC_RELEASE);
}

constexpr std::size_t entry(std::uint16_t head) { return sizeof(Header) + head * sizeof(Desc); }

}  // namespace

std::size_t InflightQueue::bytes_for(std::uint16_t size) {
    return (entry(size) + kRegionAlign - 1) / kRegionAlign * kRegionAlign;
}

Result<InflightQueue> InflightQueue::open(std::span<std::byte> region, std::uint16_t size) {
    CHECK(region.size() >= entry(size));
    const auto version = load<U16>(region, offsetof(Header, version));
    if (version == 0) {
        std::ranges::fill(region.first(entry(size)), std::byte{0});
        store<U16>(region, offsetof(Header, desc_num), size);
        store<U16>(region, offsetof(Header, version), abi::kVhostUserInflightVersion);
        return InflightQueue(region, size);
    }
    const auto claimed = load<U16>(region, offsetof(Header, desc_num));
    if (version != abi::kVhostUserInflightVersion || claimed != size) {
        return Error(Code::InvalidArgument,
                     "in-flight region of version " + std::to_string(version) + " for " +
                         std::to_string(claimed) + " descriptors, not " + std::to_string(size));
    }
    return InflightQueue(region, size);
}

std::vector<std::uint16_t> InflightQueue::recover(std::uint16_t used_idx) {
    // Completions that reached the used ring, and not the entries here. We write one at a time;
    // another back end may have had a batch. A list that loops does no more than it has entries.
    const auto written = load<U16>(region_, offsetof(Header, used_idx));
    const auto batch = static_cast<std::uint16_t>(used_idx - written);
    auto head = load<U16>(region_, offsetof(Header, last_batch_head));
    for (std::uint16_t i = 0; i < std::min(batch, size_) && head < size_; ++i) {
        store<U8>(region_, entry(head) + offsetof(Desc, inflight), 0);
        head = load<U16>(region_, entry(head) + offsetof(Desc, next));
    }
    store<U16>(region_, offsetof(Header, used_idx), used_idx);

    struct Taken {
        std::uint64_t counter;
        std::uint16_t head;
    };
    std::vector<Taken> taken;
    for (std::uint16_t i = 0; i < size_; ++i) {
        if (load<U8>(region_, entry(i) + offsetof(Desc, inflight)) != 0) {
            taken.push_back({load<U64>(region_, entry(i) + offsetof(Desc, counter)), i});
        }
    }
    std::ranges::sort(taken, {}, [](const Taken& one) { return std::pair(one.counter, one.head); });
    counter_ = taken.empty() ? 0 : taken.back().counter + 1;
    std::vector<std::uint16_t> heads(taken.size());
    std::ranges::transform(taken, heads.begin(), &Taken::head);
    return heads;
}

void InflightQueue::take(std::uint16_t head) {
    store<U64>(region_, entry(head) + offsetof(Desc, counter), counter_++);
    store<U8>(region_, entry(head) + offsetof(Desc, inflight), 1);
}

void InflightQueue::before_used(std::uint16_t head) {
    const auto last = load<U16>(region_, offsetof(Header, last_batch_head));
    store<U16>(region_, entry(head) + offsetof(Desc, next), last);
    store<U16>(region_, offsetof(Header, last_batch_head), head);
}

void InflightQueue::after_used(std::uint16_t head, std::uint16_t used_idx) {
    store<U8>(region_, entry(head) + offsetof(Desc, inflight), 0);
    store<U16>(region_, offsetof(Header, used_idx), used_idx);
}

Result<InflightRegions::Made> InflightRegions::make(std::uint16_t num_queues,
                                                    std::uint16_t queue_size) {
    const std::uint64_t size = std::uint64_t{num_queues} * InflightQueue::bytes_for(queue_size);
    Fd file(::memfd_create("pepita-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    if (::ftruncate(file.ref().number(), static_cast<off_t>(size)) != 0) {
        return Error::from_errno(errno, "in-flight file: ftruncate");
    }
    if (::fcntl(file.ref().number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        return Error::from_errno(errno, "in-flight file: fcntl");
    }
    return Made{.file = std::move(file),
                .description = {.mmap_size = size,
                                .mmap_offset = 0,
                                .num_queues = num_queues,
                                .queue_size = queue_size,
                                .padding = {}}};
}

Result<InflightRegions> InflightRegions::map(FdRef file,
                                             const abi::VhostUserInflight& description) {
    const std::uint64_t needed =
        std::uint64_t{description.num_queues} * InflightQueue::bytes_for(description.queue_size);
    if (description.num_queues == 0 || description.queue_size == 0 ||
        description.mmap_size < needed) {
        return Error(Code::InvalidArgument, std::to_string(description.num_queues) +
                                                " in-flight regions for " +
                                                std::to_string(description.queue_size) +
                                                " descriptors take " + std::to_string(needed) +
                                                " B, not " + std::to_string(description.mmap_size));
    }
    // It is ours, from make(). Any other might be cut off below us: SIGBUS; or its pages might
    // never come. Asked first: of another program's file (FUSE) already fstat(2) may wait.
    const int seals = ::fcntl(file.number(), F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
        return Error(Code::InvalidArgument, "in-flight file is not sealed against shrinking");
    }
    struct stat status{};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "in-flight file: fstat");
    }
    const auto length = static_cast<std::uint64_t>(status.st_size);
    if (!S_ISREG(status.st_mode) || description.mmap_offset % kPageSize.value() != 0 ||
        description.mmap_offset > length || length - description.mmap_offset < needed) {
        return Error(Code::InvalidArgument, "in-flight file has " + std::to_string(length) +
                                                " B, and its regions would be " +
                                                std::to_string(needed) + " B at " +
                                                std::to_string(description.mmap_offset));
    }
    // Whole pages of the file's: what is mapped of a huge one has to be unmapped as one.
    const auto page =
        std::max<std::uint64_t>(kPageSize.value(), static_cast<std::uint64_t>(status.st_blksize));
    const Bytes whole((needed + page - 1) / page * page);
    return InflightRegions(
        TRY(Mapping::shared(file, whole, description.mmap_offset), "in-flight file"),
        description.num_queues, description.queue_size);
}

Result<InflightQueue> InflightRegions::queue(std::uint16_t index) const {
    if (index >= num_queues_) {
        return Error(Code::OutOfRange,
                     "no in-flight region: there are " + std::to_string(num_queues_));
    }
    const std::size_t size = InflightQueue::bytes_for(queue_size_);
    return InflightQueue::open(mapping_.bytes().subspan(index * size, size), queue_size_);
}

}  // namespace pepita::virtio
