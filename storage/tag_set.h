#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::storage {

/// Which of its queue's requests one is: 0 to the queue's depth, less one.
using Tag = std::uint16_t;

/// The tags of all queues of one disk. As in blk-mq, a tag is a place: what a front end or the
/// request queue keeps of a request lies in tables that are indexed by it, made once.
///
/// Thread: each queue's part is used by that queue's thread alone, so nothing is locked, and no two
/// parts share a cache line. The set itself outlives them and does not move.
class TagSet {
public:
    struct Options {
        std::uint32_t queues = 1;  // 1 to kQueuesMax
        std::uint32_t depth = 0;   // of each; 1 to kDepthMax
    };
    /// What ublk allows, UBLK_MAX_NR_QUEUES and UBLK_MAX_QUEUE_DEPTH. blk-mq has as many queues as
    /// the kernel has processors, and 10240 tags each (BLK_MQ_MAX_DEPTH).
    static constexpr std::uint32_t kQueuesMax = 4096;
    static constexpr std::uint32_t kDepthMax = 4096;

    class alignas(64) Queue {
    public:
        explicit Queue(std::uint32_t depth) : depth_(depth) {}

        std::uint32_t depth() const { return depth_; }
        std::uint32_t in_use() const { return in_use_; }
        bool is_full() const { return in_use_ == depth_; }
        bool is_taken(Tag tag) const;

        /// A tag that nobody has, the lowest; nothing where all are taken.
        std::optional<Tag> take();
        /// Takes this one, for who has it from another set: the kernel's. It is below depth() and
        /// free, or that is the caller's bug.
        void claim(Tag tag);
        /// Whoever has the tag gives it back.
        void give_back(Tag tag);

    private:
        static constexpr std::size_t kWordBits = 64;

        std::uint32_t depth_;
        std::uint32_t in_use_ = 0;
        std::array<std::uint64_t, kDepthMax / kWordBits> taken_{};
    };

    /// Errors: InvalidArgument beyond one of the limits.
    static Result<TagSet> create(const Options& options);

    Queue& queue(std::size_t number) { return queues_.at(number); }
    std::size_t queues() const { return queues_.size(); }

private:
    explicit TagSet(const Options& options) : queues_(options.queues, Queue(options.depth)) {}

    std::vector<Queue> queues_;
};

}  // namespace pepita::storage
