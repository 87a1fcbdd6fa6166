#include "vmm/virtio/block/request.h"

#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "storage/block_device.h"
#include "vmm/virtio/block/config.h"
#include "vmm/virtio/chain.h"

namespace pepita::vmm::virtio::block {
namespace {

using Kind = Request::Kind;

Request moving(Request request, Sectors capacity) {
    if (request.length.value() == 0 || request.length > kRequestBytesMax ||
        !storage::is_within(capacity, request.first, request.length)) {
        request.kind = Kind::Bad;
    }
    return request;
}

}  // namespace

Request parse_request(Chain& chain, Sectors capacity, storage::Access access) {
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
        default:
            request.kind = Kind::Unsupported;
            break;
    }
    return request;
}

}  // namespace pepita::vmm::virtio::block
