#pragma once

#include <cstdint>
#include <optional>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/block_device.h"

namespace pepita::storage::ublk {

using Operation = IoOperation;

/// A request of the kernel's, checked as far as that goes without knowing the disk.
struct Request {
    Operation operation = Operation::Flush;
    Sectors first;
    Sectors count;
    bool is_forced = false;  // FUA: done when it is on stable storage

    friend bool operator==(const Request&, const Request&) = default;
};

/// Nothing where the operation is none that our disks were said to do, and for a read or write of
/// nothing or of more than `data_max`, the size of the buffer.
std::optional<Request> decode(const abi::UblkIoDescriptor& descriptor, Bytes data_max);

/// Where in /dev/ublkcN a queue's descriptors begin. Counted in the deepest queue there can be, not
/// in this one's depth.
std::uint64_t descriptors_offset(std::uint16_t queue);
/// How many bytes there are to map for a queue of that depth.
Bytes descriptors_size(std::uint16_t depth);
/// Where in /dev/ublkcN a request's data begin, with kUblkFUserCopy.
std::uint64_t data_offset(std::uint16_t queue, std::uint16_t tag);

}  // namespace pepita::storage::ublk
