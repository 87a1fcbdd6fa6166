#include "vmm/bus/address_map.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/hex.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/shared_mutex.h"

namespace pepita::vmm {

Result<void> AddressMap::add(std::uint64_t start, std::uint64_t size, BusTarget& target) {
    const ExclusiveLock lock(mutex_);
    const auto next = std::ranges::upper_bound(ranges_, start, {}, &Range::start);
    const bool wraps = size == 0 || size - 1 > std::numeric_limits<std::uint64_t>::max() - start;
    const bool meets_next = next != ranges_.end() && next->start - start < size;
    const bool meets_previous =
        next != ranges_.begin() && start - std::prev(next)->start < std::prev(next)->size;
    if (wraps || meets_next || meets_previous) {
        return Error(Code::InvalidArgument, "bus range " + hex(start) + " + " + hex(size) +
                                                " is empty, wraps or is taken");
    }
    ranges_.insert(next, Range{.start = start, .size = size, .target = &target});
    return {};
}

void AddressMap::remove(std::uint64_t start) {
    const ExclusiveLock lock(mutex_);
    const auto found = std::ranges::lower_bound(ranges_, start, {}, &Range::start);
    if (found != ranges_.end() && found->start == start) {
        ranges_.erase(found);
    }
}

void AddressMap::read(std::uint64_t at, std::span<std::byte> into) const {
    std::ranges::fill(into, std::byte{0xff});
    const SharedLock lock(mutex_);
    if (const Range* range = find(at, into.size())) {
        range->target->read(at - range->start, into);
    }
}

Written AddressMap::write(std::uint64_t at, std::span<const std::byte> from) const {
    const SharedLock lock(mutex_);
    const Range* range = find(at, from.size());
    return range == nullptr ? Written::Done : range->target->write(at - range->start, from);
}

void AddressMap::write_on_loop(std::uint64_t at, std::span<const std::byte> from) const {
    BusTarget* target = nullptr;
    std::uint64_t offset = 0;
    {
        const SharedLock lock(mutex_);
        const Range* range = find(at, from.size());
        if (range == nullptr) {
            return;
        }
        target = range->target;
        offset = at - range->start;
    }
    if (target->write(offset, from) == Written::NeedsLoop) {
        target->write_on_loop(offset, from);
    }
}

const AddressMap::Range* AddressMap::find(std::uint64_t at, std::uint64_t length) const {
    const auto next = std::ranges::upper_bound(ranges_, at, {}, &Range::start);
    if (next == ranges_.begin()) {
        return nullptr;
    }
    const Range& range = *std::prev(next);
    const std::uint64_t offset = at - range.start;
    return offset < range.size && length <= range.size - offset ? &range : nullptr;
}

}  // namespace pepita::vmm
