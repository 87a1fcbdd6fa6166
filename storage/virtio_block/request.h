#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/chain.h"
#include "storage/block_device.h"

namespace pepita::storage::virtio_block {

/// What a chain asks for, checked: the sectors of a Read, Write, Discard or
/// WriteZeroes are inside the disk.
struct Request {
    enum class Kind : std::uint8_t {
        Read,
        Write,
        Flush,
        GetId,
        Discard,
        WriteZeroes,
        Unsupported,  // a type or flag that we do not know
        Bad,   // refused: too short, too long, outside the disk, or a write to a read-only one
        Mute,  // no room for even a status byte
    };
    Kind kind = Kind::Bad;
    Sectors first;
    Bytes length;   // of a Read's or Write's data, which is next in its part of the chain
    Sectors count;  // of a Discard or WriteZeroes
    Bytes room;     // the writable part without the status byte at its end

    friend bool operator==(const Request&, const Request&) = default;
};

/// Takes the header off the chain. The header is copied once; the guest may change it meanwhile.
Request parse_request(virtio::Chain& chain, Sectors capacity, storage::Access access);

}  // namespace pepita::storage::virtio_block
