#include "storage/virtio_block/request.h"

#include <cstdint>

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/virtio/chain.h"
#include "storage/block_device.h"
#include "storage/virtio_block/config.h"

namespace pepita::storage::virtio_block {
namespace {

using Kind = Request::Kind;

Request moving(Request request, Sectors capacity) {
    if (request.length.value() == 0 || request.length > kRequestBytesMax ||
        !storage::is_within(capacity, request.first, request.length)) {
        request.kind = Kind::Bad;
    }
    return request;
}

/// virtio 1.2 §5.2.6.2: a flag that we do not know is Unsupported, a range that is not on the disk
/// an error. We announce that a request has one range; more of them are an error as well.
Request clearing(Request request, virtio::Chain& chain, Sectors capacity,
                 std::uint32_t known_flags) {
    const auto range = chain.read<abi::VirtioBlkRange>();
    if (!range.has_value() || chain.readable() != 0) {
        request.kind = Kind::Bad;
        return request;
    }
    request.first = Sectors(range->sector);
    request.count = Sectors(range->sectors);
    if ((range->flags & ~known_flags) != 0) {
        request.kind = Kind::Unsupported;
    } else if (request.count > kRangeSectorsMax ||
               !storage::is_within(capacity, request.first, request.count)) {
        request.kind = Kind::Bad;
    }
    return request;
}

}  // namespace

Request parse_request(virtio::Chain& chain, Sectors capacity, storage::Access access) {
    Request request;
    if (chain.writable() == 0) {
        request.kind = Kind::Mute;
        return request;
    }
    request.room = Bytes(chain.writable() - 1);  // virtio 1.2 §5.2.6: the last byte is the status
    const auto header = chain.read<abi::VirtioBlkRequestHeader>();
    if (!header.has_value()) {
        return request;
    }
    request.first = Sectors(header->sector);
    switch (header->type) {
        case abi::kVirtioBlkTIn:
            request.kind = Kind::Read;
            request.length = request.room;
            return moving(request, capacity);
        case abi::kVirtioBlkTOut:
            request.kind = access == storage::Access::ReadOnly ? Kind::Bad : Kind::Write;
            request.length = Bytes(chain.readable());
            return moving(request, capacity);
        case abi::kVirtioBlkTFlush:
            request.kind = Kind::Flush;
            break;
        case abi::kVirtioBlkTGetId:
            request.kind = request.room.value() < abi::kVirtioBlkIdBytes ? Kind::Bad : Kind::GetId;
            break;
        case abi::kVirtioBlkTDiscard:
            request.kind = Kind::Discard;
            break;
        case abi::kVirtioBlkTWriteZeroes:
            request.kind = Kind::WriteZeroes;
            break;
        default:
            request.kind = Kind::Unsupported;
            break;
    }
    const bool clears = request.kind == Kind::Discard || request.kind == Kind::WriteZeroes;
    if (!clears) {
        return request;
    }
    if (access == storage::Access::ReadOnly) {
        request.kind = Kind::Bad;
        return request;
    }
    return clearing(request, chain, capacity,
                    request.kind == Kind::WriteZeroes ? abi::kVirtioBlkRangeUnmap : 0U);
}

}  // namespace pepita::storage::virtio_block
