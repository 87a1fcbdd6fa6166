#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"

namespace pepita::virtio {

/// Which chains of one split queue the device has taken and not given back, written down where it
/// outlives the process. Source: QEMU docs/interop/vhost-user.rst, "Inflight I/O tracking".
///
/// It is right after every single store, since the process may be killed between any two. A front
/// end holds the same memory: what is read from it is checked, and no more than a wrong request of
/// its own guest comes of a lie.
class InflightQueue {
public:
    /// What a queue of `size` takes, so that the next one's region is aligned to 64.
    static std::size_t bytes_for(std::uint16_t size);

    /// `region` is borrowed, aligned to 8 and at least bytes_for(size) long. One that is all zeros
    /// is made ready. Errors: InvalidArgument for another version or size.
    static Result<InflightQueue> open(std::span<std::byte> region, std::uint16_t size);

    std::uint16_t size() const { return size_; }

    /// The heads that whoever was here before had taken and not completed, in the order of taking.
    /// `used_idx` is the used ring's. To be called once, before anything is taken.
    std::vector<std::uint16_t> recover(std::uint16_t used_idx);

    void take(std::uint16_t head);
    /// Around the store of the used ring's index that gives `head` back.
    void before_used(std::uint16_t head);
    void after_used(std::uint16_t head, std::uint16_t used_idx);

private:
    InflightQueue(std::span<std::byte> region, std::uint16_t size) : region_(region), size_(size) {}

    std::span<std::byte> region_;
    std::uint16_t size_;
    std::uint64_t counter_ = 0;
};

/// The regions of all queues of a device, in a file that the front end keeps while there is no
/// back end.
class InflightRegions {
public:
    struct Made {
        Fd file;
        abi::VhostUserInflight description;
    };
    /// A new file, all zeros, that cannot shrink. `num_queues` and `queue_size` are checked by the
    /// caller. Errors: memfd_create(2)'s, ftruncate(2)'s.
    static Result<Made> make(std::uint16_t num_queues, std::uint16_t queue_size);

    /// Errors: InvalidArgument where the description does not fit its file, or the file may shrink
    /// below us; mmap(2)'s.
    static Result<InflightRegions> map(FdRef file, const abi::VhostUserInflight& description);

    std::uint16_t queue_size() const { return queue_size_; }
    std::uint16_t num_queues() const { return num_queues_; }
    /// The mapping is borrowed. Errors: OutOfRange without such a queue; InflightQueue::open()'s.
    Result<InflightQueue> queue(std::uint16_t index) const;

private:
    InflightRegions(Mapping mapping, std::uint16_t num_queues, std::uint16_t queue_size)
        : mapping_(std::move(mapping)), num_queues_(num_queues), queue_size_(queue_size) {}

    Mapping mapping_;
    std::uint16_t num_queues_;
    std::uint16_t queue_size_;
};

}  // namespace pepita::virtio
