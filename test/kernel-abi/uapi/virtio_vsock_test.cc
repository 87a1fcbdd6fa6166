#include "kernel-abi/uapi/virtio_vsock.h"

#include <cstddef>

#include "kernel-abi/uapi/virtio_config.h"
#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVsockFSeqpacket == virtio_feature(VIRTIO_VSOCK_F_SEQPACKET));
static_assert(kVsockTypeStream == VIRTIO_VSOCK_TYPE_STREAM);
static_assert(kVsockTypeSeqpacket == VIRTIO_VSOCK_TYPE_SEQPACKET);
static_assert(kVsockShutdownReceive == VIRTIO_VSOCK_SHUTDOWN_RCV);
static_assert(kVsockShutdownSend == VIRTIO_VSOCK_SHUTDOWN_SEND);
static_assert(kVsockSeqEom == VIRTIO_VSOCK_SEQ_EOM);
static_assert(kVsockSeqEor == VIRTIO_VSOCK_SEQ_EOR);
static_assert(kVsockEventTransportReset == VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
static_assert(static_cast<int>(VsockOp::Invalid) == VIRTIO_VSOCK_OP_INVALID);
static_assert(static_cast<int>(VsockOp::Request) == VIRTIO_VSOCK_OP_REQUEST);
static_assert(static_cast<int>(VsockOp::Response) == VIRTIO_VSOCK_OP_RESPONSE);
static_assert(static_cast<int>(VsockOp::Rst) == VIRTIO_VSOCK_OP_RST);
static_assert(static_cast<int>(VsockOp::Shutdown) == VIRTIO_VSOCK_OP_SHUTDOWN);
static_assert(static_cast<int>(VsockOp::Rw) == VIRTIO_VSOCK_OP_RW);
static_assert(static_cast<int>(VsockOp::CreditUpdate) == VIRTIO_VSOCK_OP_CREDIT_UPDATE);
static_assert(static_cast<int>(VsockOp::CreditRequest) == VIRTIO_VSOCK_OP_CREDIT_REQUEST);
// virtio 1.3 §5.10.2, §5.10.4.
static_assert(kVsockHostCid == 2);
static_assert(kVsockRxQueue == 0);
static_assert(kVsockTxQueue == 1);
static_assert(kVsockEventQueue == 2);

SAME_SIZE(VsockHeader, virtio_vsock_hdr);
SAME_PLACE(VsockHeader, src_cid, virtio_vsock_hdr, src_cid);
SAME_PLACE(VsockHeader, dst_cid, virtio_vsock_hdr, dst_cid);
SAME_PLACE(VsockHeader, src_port, virtio_vsock_hdr, src_port);
SAME_PLACE(VsockHeader, dst_port, virtio_vsock_hdr, dst_port);
SAME_PLACE(VsockHeader, len, virtio_vsock_hdr, len);
SAME_PLACE(VsockHeader, type, virtio_vsock_hdr, type);
SAME_PLACE(VsockHeader, op, virtio_vsock_hdr, op);
SAME_PLACE(VsockHeader, flags, virtio_vsock_hdr, flags);
SAME_PLACE(VsockHeader, buf_alloc, virtio_vsock_hdr, buf_alloc);
SAME_PLACE(VsockHeader, fwd_cnt, virtio_vsock_hdr, fwd_cnt);

SAME_SIZE(VsockConfigSpace, virtio_vsock_config);
SAME_PLACE(VsockConfigSpace, guest_cid, virtio_vsock_config, guest_cid);

SAME_SIZE(VsockEvent, virtio_vsock_event);
SAME_PLACE(VsockEvent, id, virtio_vsock_event, id);

}  // namespace
}  // namespace pepita::abi
