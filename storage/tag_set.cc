#include "storage/tag_set.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::storage {

Result<TagSet> TagSet::create(const Options& options) {
    if (options.queues == 0 || options.queues > kQueuesMax) {
        return Error(Code::InvalidArgument, "a disk with " + std::to_string(options.queues) +
                                                " queues: 1 to " + std::to_string(kQueuesMax));
    }
    if (options.depth == 0 || options.depth > kDepthMax) {
        return Error(Code::InvalidArgument, "a queue of " + std::to_string(options.depth) +
                                                " requests: 1 to " + std::to_string(kDepthMax));
    }
    return TagSet(options);
}

bool TagSet::Queue::is_taken(Tag tag) const {
    CHECK(tag < depth_);
    return (taken_[tag / kWordBits] >> (tag % kWordBits) & 1U) != 0;
}

std::optional<Tag> TagSet::Queue::take() {
    if (is_full()) {
        return std::nullopt;
    }
    std::size_t word = 0;  // one that has a free bit is there, and below the depth
    while (taken_[word] == ~std::uint64_t{0}) {
        ++word;
    }
    const auto bit = static_cast<std::size_t>(std::countr_one(taken_[word]));
    const auto tag = static_cast<Tag>(word * kWordBits + bit);
    claim(tag);
    return tag;
}

void TagSet::Queue::claim(Tag tag) {
    CHECK(!is_taken(tag));
    taken_[tag / kWordBits] |= std::uint64_t{1} << (tag % kWordBits);
    ++in_use_;
}

void TagSet::Queue::give_back(Tag tag) {
    CHECK(is_taken(tag));
    taken_[tag / kWordBits] &= ~(std::uint64_t{1} << (tag % kWordBits));
    --in_use_;
}

}  // namespace pepita::storage
