#include <array>
#include <cstddef>
#include <span>

#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/abi/members.h"
#include "kernel-abi/uapi/virtio_balloon.h"
#include "kernel-abi/uapi/virtio_console.h"
#include "kernel-abi/uapi/virtio_fs.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/uapi/virtio_pmem.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/uapi/virtio_vsock.h"
#include "kernel-abi/uapi/vm_sockets.h"

// Layouts of virtio and of its sockets. Those of the first devices are in layouts.cc.
namespace pepita::abi_check {
namespace {

constexpr std::array kNetConfig{
    SAME(abi::VirtioNetConfig, mac),
    SAME(abi::VirtioNetConfig, status),
    SAME(abi::VirtioNetConfig, max_virtqueue_pairs),
    SAME(abi::VirtioNetConfig, mtu),
    SAME(abi::VirtioNetConfig, speed),
    SAME(abi::VirtioNetConfig, duplex),
    SAME(abi::VirtioNetConfig, rss_max_key_size),
    SAME(abi::VirtioNetConfig, rss_max_indirection_table_length),
    SAME(abi::VirtioNetConfig, supported_hash_types),
};
constexpr std::array kNetHdrV1Hash{
    SAME(abi::VirtioNetHdrV1Hash, hdr),
    SAME(abi::VirtioNetHdrV1Hash, hash_report),
    SAME(abi::VirtioNetHdrV1Hash, padding),
};
constexpr std::array kNetHdr{
    SAME(abi::VirtioNetHdr, flags),      SAME(abi::VirtioNetHdr, gso_type),
    SAME(abi::VirtioNetHdr, hdr_len),    SAME(abi::VirtioNetHdr, gso_size),
    SAME(abi::VirtioNetHdr, csum_start), SAME(abi::VirtioNetHdr, csum_offset),
};
constexpr std::array kNetHdrMrgRxbuf{
    SAME(abi::VirtioNetHdrMrgRxbuf, hdr),
    SAME(abi::VirtioNetHdrMrgRxbuf, num_buffers),
};
constexpr std::array kNetCtrlMac{
    SAME(abi::VirtioNetCtrlMac, entries),
};
constexpr std::array kNetCtrlMq{
    SAME(abi::VirtioNetCtrlMq, virtqueue_pairs),
};
constexpr std::array kNetRssConfigHdr{
    SAME(abi::VirtioNetRssConfigHdr, hash_types),
    SAME(abi::VirtioNetRssConfigHdr, indirection_table_mask),
    SAME(abi::VirtioNetRssConfigHdr, unclassified_queue),
};
constexpr std::array kNetRssConfigTrailer{
    SAME(abi::VirtioNetRssConfigTrailer, max_tx_vq),
    SAME(abi::VirtioNetRssConfigTrailer, hash_key_length),
};
constexpr std::array kNetHashConfig{
    SAME(abi::VirtioNetHashConfig, hash_types),
    SAME(abi::VirtioNetHashConfig, reserved),
    SAME(abi::VirtioNetHashConfig, hash_key_length),
};
constexpr std::array kNetCtrlCoalTx{
    SAME(abi::VirtioNetCtrlCoalTx, tx_max_packets),
    SAME(abi::VirtioNetCtrlCoalTx, tx_usecs),
};
constexpr std::array kNetCtrlCoalRx{
    SAME(abi::VirtioNetCtrlCoalRx, rx_max_packets),
    SAME(abi::VirtioNetCtrlCoalRx, rx_usecs),
};
constexpr std::array kNetCtrlCoal{
    SAME(abi::VirtioNetCtrlCoal, max_packets),
    SAME(abi::VirtioNetCtrlCoal, max_usecs),
};
constexpr std::array kNetCtrlCoalVq{
    SAME(abi::VirtioNetCtrlCoalVq, vqn),
    SAME(abi::VirtioNetCtrlCoalVq, reserved),
    SAME(abi::VirtioNetCtrlCoalVq, coal),
};
constexpr std::array kNetStatsReplyHdr{
    SAME(abi::VirtioNetStatsReplyHdr, type),     SAME(abi::VirtioNetStatsReplyHdr, reserved),
    SAME(abi::VirtioNetStatsReplyHdr, vq_index), SAME(abi::VirtioNetStatsReplyHdr, reserved1),
    SAME(abi::VirtioNetStatsReplyHdr, size),
};
constexpr std::array kConsoleConfig{
    SAME(abi::VirtioConsoleConfig, cols),
    SAME(abi::VirtioConsoleConfig, rows),
    SAME(abi::VirtioConsoleConfig, max_nr_ports),
    SAME(abi::VirtioConsoleConfig, emerg_wr),
};
constexpr std::array kConsoleControl{
    SAME(abi::VirtioConsoleControl, id),
    SAME(abi::VirtioConsoleControl, event),
    SAME(abi::VirtioConsoleControl, value),
};
constexpr std::array kBalloonStat{
    SAME(abi::VirtioBalloonStat, tag),
    SAME(abi::VirtioBalloonStat, val),
};
constexpr std::array kFsConfig{
    SAME(abi::VirtioFsConfig, tag),
    SAME(abi::VirtioFsConfig, num_request_queues),
};
constexpr std::array kPmemConfig{
    SAME(abi::VirtioPmemConfig, start),
    SAME(abi::VirtioPmemConfig, size),
};
constexpr std::array kPmemReq{
    SAME(abi::VirtioPmemReq, type),
};
constexpr std::array kPmemResp{
    SAME(abi::VirtioPmemResp, ret),
};
constexpr std::array kSockaddrVm{
    SAME(abi::SockaddrVm, svm_family), SAME(abi::SockaddrVm, svm_reserved1),
    SAME(abi::SockaddrVm, svm_port),   SAME(abi::SockaddrVm, svm_cid),
    SAME(abi::SockaddrVm, svm_flags),  SAME(abi::SockaddrVm, svm_zero),
};
constexpr std::array kNetHdrV1{
    SAME(abi::VirtioNetHdrV1, flags),       SAME(abi::VirtioNetHdrV1, gso_type),
    SAME(abi::VirtioNetHdrV1, hdr_len),     SAME(abi::VirtioNetHdrV1, gso_size),
    SAME(abi::VirtioNetHdrV1, csum),        SAME(abi::VirtioNetHdrV1, rsc),
    SAME(abi::VirtioNetHdrV1, num_buffers),
};
constexpr std::array kNetCtrlHdr{
    MEMBER(abi::VirtioNetCtrlHdr, command_class, "class"),
    MEMBER(abi::VirtioNetCtrlHdr, command, "cmd"),
};
constexpr std::array kBalloonConfig{
    SAME(abi::VirtioBalloonConfig, num_pages),
    SAME(abi::VirtioBalloonConfig, actual),
    SAME(abi::VirtioBalloonConfig, free_page_hint_cmd_id),
    SAME(abi::VirtioBalloonConfig, poison_val),
};
constexpr std::array kVirtqPackedDesc{
    MEMBER(abi::VirtqPackedDesc, address, "addr"),
    MEMBER(abi::VirtqPackedDesc, length, "len"),
    SAME(abi::VirtqPackedDesc, id),
    SAME(abi::VirtqPackedDesc, flags),
};
constexpr std::array kVirtqPackedEvent{
    SAME(abi::VirtqPackedEvent, off_wrap),
    SAME(abi::VirtqPackedEvent, flags),
};
constexpr std::array kVsockEvent{
    SAME(abi::VsockEvent, id),
};

constexpr std::array kTypes{
    whole<abi::VirtioNetConfig>("virtio_net_config", kNetConfig),
    whole<abi::VirtioNetHdrV1Hash>("virtio_net_hdr_v1_hash", kNetHdrV1Hash),
    whole<abi::VirtioNetHdr>("virtio_net_hdr", kNetHdr),
    whole<abi::VirtioNetHdrMrgRxbuf>("virtio_net_hdr_mrg_rxbuf", kNetHdrMrgRxbuf),
    whole<abi::VirtioNetCtrlMac>("virtio_net_ctrl_mac", kNetCtrlMac),
    whole<abi::VirtioNetCtrlMq>("virtio_net_ctrl_mq", kNetCtrlMq),
    whole<abi::VirtioNetRssConfigHdr>("virtio_net_rss_config_hdr", kNetRssConfigHdr),
    whole<abi::VirtioNetRssConfigTrailer>("virtio_net_rss_config_trailer", kNetRssConfigTrailer),
    whole<abi::VirtioNetHashConfig>("virtio_net_hash_config", kNetHashConfig),
    whole<abi::VirtioNetCtrlCoalTx>("virtio_net_ctrl_coal_tx", kNetCtrlCoalTx),
    whole<abi::VirtioNetCtrlCoalRx>("virtio_net_ctrl_coal_rx", kNetCtrlCoalRx),
    whole<abi::VirtioNetCtrlCoal>("virtio_net_ctrl_coal", kNetCtrlCoal),
    whole<abi::VirtioNetCtrlCoalVq>("virtio_net_ctrl_coal_vq", kNetCtrlCoalVq),
    whole<abi::VirtioNetStatsReplyHdr>("virtio_net_stats_reply_hdr", kNetStatsReplyHdr),
    whole<abi::VirtioConsoleConfig>("virtio_console_config", kConsoleConfig),
    whole<abi::VirtioConsoleControl>("virtio_console_control", kConsoleControl),
    whole<abi::VirtioBalloonStat>("virtio_balloon_stat", kBalloonStat),
    whole<abi::VirtioFsConfig>("virtio_fs_config", kFsConfig),
    whole<abi::VirtioPmemConfig>("virtio_pmem_config", kPmemConfig),
    whole<abi::VirtioPmemReq>("virtio_pmem_req", kPmemReq),
    whole<abi::VirtioPmemResp>("virtio_pmem_resp", kPmemResp),
    whole<abi::SockaddrVm>("sockaddr_vm", kSockaddrVm),
    whole<abi::VirtioNetHdrV1>("virtio_net_hdr_v1", kNetHdrV1),
    whole<abi::VirtioNetCtrlHdr>("virtio_net_ctrl_hdr", kNetCtrlHdr),
    // Some kernels have it longer.
    start_of("virtio_balloon_config", sizeof(abi::VirtioBalloonConfig), kBalloonConfig),
    whole<abi::VirtqPackedDesc>("vring_packed_desc", kVirtqPackedDesc),
    whole<abi::VirtqPackedEvent>("vring_packed_desc_event", kVirtqPackedEvent),
    whole<abi::VsockEvent>("virtio_vsock_event", kVsockEvent),
};

}  // namespace

std::span<const ExpectedType> virtio_types() { return kTypes; }

}  // namespace pepita::abi_check
