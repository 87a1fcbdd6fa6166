#include "kernel-abi/uapi/virtio_net.h"

#include <cstddef>

#include "kernel-abi/uapi/virtio_config.h"
#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtioNetFCsum == virtio_feature(VIRTIO_NET_F_CSUM));
static_assert(kVirtioNetFGuestCsum == virtio_feature(VIRTIO_NET_F_GUEST_CSUM));
static_assert(kVirtioNetFCtrlGuestOffloads == virtio_feature(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
static_assert(kVirtioNetFMtu == virtio_feature(VIRTIO_NET_F_MTU));
static_assert(kVirtioNetFMac == virtio_feature(VIRTIO_NET_F_MAC));
static_assert(kVirtioNetFGso == virtio_feature(VIRTIO_NET_F_GSO));
static_assert(kVirtioNetFGuestTso4 == virtio_feature(VIRTIO_NET_F_GUEST_TSO4));
static_assert(kVirtioNetFGuestTso6 == virtio_feature(VIRTIO_NET_F_GUEST_TSO6));
static_assert(kVirtioNetFGuestEcn == virtio_feature(VIRTIO_NET_F_GUEST_ECN));
static_assert(kVirtioNetFGuestUfo == virtio_feature(VIRTIO_NET_F_GUEST_UFO));
static_assert(kVirtioNetFHostTso4 == virtio_feature(VIRTIO_NET_F_HOST_TSO4));
static_assert(kVirtioNetFHostTso6 == virtio_feature(VIRTIO_NET_F_HOST_TSO6));
static_assert(kVirtioNetFHostEcn == virtio_feature(VIRTIO_NET_F_HOST_ECN));
static_assert(kVirtioNetFHostUfo == virtio_feature(VIRTIO_NET_F_HOST_UFO));
static_assert(kVirtioNetFMrgRxbuf == virtio_feature(VIRTIO_NET_F_MRG_RXBUF));
static_assert(kVirtioNetFStatus == virtio_feature(VIRTIO_NET_F_STATUS));
static_assert(kVirtioNetFCtrlVq == virtio_feature(VIRTIO_NET_F_CTRL_VQ));
static_assert(kVirtioNetFCtrlRx == virtio_feature(VIRTIO_NET_F_CTRL_RX));
static_assert(kVirtioNetFCtrlVlan == virtio_feature(VIRTIO_NET_F_CTRL_VLAN));
static_assert(kVirtioNetFCtrlRxExtra == virtio_feature(VIRTIO_NET_F_CTRL_RX_EXTRA));
static_assert(kVirtioNetFGuestAnnounce == virtio_feature(VIRTIO_NET_F_GUEST_ANNOUNCE));
static_assert(kVirtioNetFMq == virtio_feature(VIRTIO_NET_F_MQ));
static_assert(kVirtioNetFCtrlMacAddr == virtio_feature(VIRTIO_NET_F_CTRL_MAC_ADDR));
static_assert(kVirtioNetFDeviceStats == virtio_feature(VIRTIO_NET_F_DEVICE_STATS));
static_assert(kVirtioNetFVqNotfCoal == virtio_feature(VIRTIO_NET_F_VQ_NOTF_COAL));
static_assert(kVirtioNetFNotfCoal == virtio_feature(VIRTIO_NET_F_NOTF_COAL));
static_assert(kVirtioNetFGuestUso4 == virtio_feature(VIRTIO_NET_F_GUEST_USO4));
static_assert(kVirtioNetFGuestUso6 == virtio_feature(VIRTIO_NET_F_GUEST_USO6));
static_assert(kVirtioNetFHostUso == virtio_feature(VIRTIO_NET_F_HOST_USO));
static_assert(kVirtioNetFHashReport == virtio_feature(VIRTIO_NET_F_HASH_REPORT));
static_assert(kVirtioNetFGuestHdrlen == virtio_feature(VIRTIO_NET_F_GUEST_HDRLEN));
static_assert(kVirtioNetFRss == virtio_feature(VIRTIO_NET_F_RSS));
static_assert(kVirtioNetFRscExt == virtio_feature(VIRTIO_NET_F_RSC_EXT));
static_assert(kVirtioNetFStandby == virtio_feature(VIRTIO_NET_F_STANDBY));
static_assert(kVirtioNetFSpeedDuplex == virtio_feature(VIRTIO_NET_F_SPEED_DUPLEX));
static_assert(kVirtioNetFGuestUdpTunnelGso == VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO);
static_assert(kVirtioNetFGuestUdpTunnelGsoCsum == VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM);
static_assert(kVirtioNetFHostUdpTunnelGso == VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO);
static_assert(kVirtioNetFHostUdpTunnelGsoCsum == VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM);
static_assert(kVirtioNetFGuestUdpTunnelGsoMapped == VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_MAPPED);
static_assert(kVirtioNetFGuestUdpTunnelGsoCsumMapped ==
              VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM_MAPPED);

SAME_SIZE(VirtioNetConfig, virtio_net_config);
SAME_PLACE(VirtioNetConfig, mac, virtio_net_config, mac);
SAME_PLACE(VirtioNetConfig, status, virtio_net_config, status);
SAME_PLACE(VirtioNetConfig, max_virtqueue_pairs, virtio_net_config, max_virtqueue_pairs);
SAME_PLACE(VirtioNetConfig, mtu, virtio_net_config, mtu);
SAME_PLACE(VirtioNetConfig, speed, virtio_net_config, speed);
SAME_PLACE(VirtioNetConfig, duplex, virtio_net_config, duplex);
SAME_PLACE(VirtioNetConfig, rss_max_key_size, virtio_net_config, rss_max_key_size);
SAME_PLACE(VirtioNetConfig, rss_max_indirection_table_length, virtio_net_config,
           rss_max_indirection_table_length);
SAME_PLACE(VirtioNetConfig, supported_hash_types, virtio_net_config, supported_hash_types);
static_assert(kVirtioNetSLinkUp == VIRTIO_NET_S_LINK_UP);
static_assert(kVirtioNetSAnnounce == VIRTIO_NET_S_ANNOUNCE);
static_assert(kVirtioNetRssHashTypeIpv4 == VIRTIO_NET_RSS_HASH_TYPE_IPv4);
static_assert(kVirtioNetRssHashTypeTcpv4 == VIRTIO_NET_RSS_HASH_TYPE_TCPv4);
static_assert(kVirtioNetRssHashTypeUdpv4 == VIRTIO_NET_RSS_HASH_TYPE_UDPv4);
static_assert(kVirtioNetRssHashTypeIpv6 == VIRTIO_NET_RSS_HASH_TYPE_IPv6);
static_assert(kVirtioNetRssHashTypeTcpv6 == VIRTIO_NET_RSS_HASH_TYPE_TCPv6);
static_assert(kVirtioNetRssHashTypeUdpv6 == VIRTIO_NET_RSS_HASH_TYPE_UDPv6);
static_assert(kVirtioNetRssHashTypeIpEx == VIRTIO_NET_RSS_HASH_TYPE_IP_EX);
static_assert(kVirtioNetRssHashTypeTcpEx == VIRTIO_NET_RSS_HASH_TYPE_TCP_EX);
static_assert(kVirtioNetRssHashTypeUdpEx == VIRTIO_NET_RSS_HASH_TYPE_UDP_EX);

SAME_SIZE(VirtioNetHdrV1, virtio_net_hdr_v1);
SAME_PLACE(VirtioNetHdrV1, flags, virtio_net_hdr_v1, flags);
SAME_PLACE(VirtioNetHdrV1, gso_type, virtio_net_hdr_v1, gso_type);
SAME_PLACE(VirtioNetHdrV1, hdr_len, virtio_net_hdr_v1, hdr_len);
SAME_PLACE(VirtioNetHdrV1, gso_size, virtio_net_hdr_v1, gso_size);
SAME_PLACE(VirtioNetHdrV1, csum, virtio_net_hdr_v1, csum);
SAME_PLACE(VirtioNetHdrV1, csum.start, virtio_net_hdr_v1, csum.start);
SAME_PLACE(VirtioNetHdrV1, csum.offset, virtio_net_hdr_v1, csum.offset);
SAME_PLACE(VirtioNetHdrV1, rsc, virtio_net_hdr_v1, rsc);
SAME_PLACE(VirtioNetHdrV1, rsc.segments, virtio_net_hdr_v1, rsc.segments);
SAME_PLACE(VirtioNetHdrV1, rsc.dup_acks, virtio_net_hdr_v1, rsc.dup_acks);
SAME_PLACE(VirtioNetHdrV1, num_buffers, virtio_net_hdr_v1, num_buffers);
SAME_PLACE(VirtioNetHdrV1, csum.start, virtio_net_hdr_v1, csum_start);
SAME_PLACE(VirtioNetHdrV1, csum.offset, virtio_net_hdr_v1, csum_offset);
static_assert(kVirtioNetHdrFNeedsCsum == VIRTIO_NET_HDR_F_NEEDS_CSUM);
static_assert(kVirtioNetHdrFDataValid == VIRTIO_NET_HDR_F_DATA_VALID);
static_assert(kVirtioNetHdrFRscInfo == VIRTIO_NET_HDR_F_RSC_INFO);
static_assert(kVirtioNetHdrFUdpTunnelCsum == VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM);
static_assert(kVirtioNetHdrGsoNone == VIRTIO_NET_HDR_GSO_NONE);
static_assert(kVirtioNetHdrGsoTcpv4 == VIRTIO_NET_HDR_GSO_TCPV4);
static_assert(kVirtioNetHdrGsoUdp == VIRTIO_NET_HDR_GSO_UDP);
static_assert(kVirtioNetHdrGsoTcpv6 == VIRTIO_NET_HDR_GSO_TCPV6);
static_assert(kVirtioNetHdrGsoUdpL4 == VIRTIO_NET_HDR_GSO_UDP_L4);
static_assert(kVirtioNetHdrGsoUdpTunnelIpv4 == VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4);
static_assert(kVirtioNetHdrGsoUdpTunnelIpv6 == VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6);
static_assert(kVirtioNetHdrGsoUdpTunnel == VIRTIO_NET_HDR_GSO_UDP_TUNNEL);
static_assert(kVirtioNetHdrGsoEcn == VIRTIO_NET_HDR_GSO_ECN);

SAME_SIZE(VirtioNetHdrV1Hash, virtio_net_hdr_v1_hash);
SAME_PLACE(VirtioNetHdrV1Hash, hdr, virtio_net_hdr_v1_hash, hdr);
AT(VirtioNetHdrV1Hash, hash_value_lo, 12, 2);
AT(VirtioNetHdrV1Hash, hash_value_hi, 14, 2);
SAME_PLACE(VirtioNetHdrV1Hash, hash_report, virtio_net_hdr_v1_hash, hash_report);
SAME_PLACE(VirtioNetHdrV1Hash, padding, virtio_net_hdr_v1_hash, padding);
static_assert(kVirtioNetHashReportNone == VIRTIO_NET_HASH_REPORT_NONE);
static_assert(kVirtioNetHashReportIpv4 == VIRTIO_NET_HASH_REPORT_IPv4);
static_assert(kVirtioNetHashReportTcpv4 == VIRTIO_NET_HASH_REPORT_TCPv4);
static_assert(kVirtioNetHashReportUdpv4 == VIRTIO_NET_HASH_REPORT_UDPv4);
static_assert(kVirtioNetHashReportIpv6 == VIRTIO_NET_HASH_REPORT_IPv6);
static_assert(kVirtioNetHashReportTcpv6 == VIRTIO_NET_HASH_REPORT_TCPv6);
static_assert(kVirtioNetHashReportUdpv6 == VIRTIO_NET_HASH_REPORT_UDPv6);
static_assert(kVirtioNetHashReportIpv6Ex == VIRTIO_NET_HASH_REPORT_IPv6_EX);
static_assert(kVirtioNetHashReportTcpv6Ex == VIRTIO_NET_HASH_REPORT_TCPv6_EX);
static_assert(kVirtioNetHashReportUdpv6Ex == VIRTIO_NET_HASH_REPORT_UDPv6_EX);

static_assert(sizeof(VirtioNetHdrV1HashTunnel) == 24);
AT(VirtioNetHdrV1HashTunnel, hash_hdr, 0, 20);
AT(VirtioNetHdrV1HashTunnel, outer_th_offset, 20, 2);
AT(VirtioNetHdrV1HashTunnel, inner_nh_offset, 22, 2);

SAME_SIZE(VirtioNetHdr, virtio_net_hdr);
SAME_PLACE(VirtioNetHdr, flags, virtio_net_hdr, flags);
SAME_PLACE(VirtioNetHdr, gso_type, virtio_net_hdr, gso_type);
SAME_PLACE(VirtioNetHdr, hdr_len, virtio_net_hdr, hdr_len);
SAME_PLACE(VirtioNetHdr, gso_size, virtio_net_hdr, gso_size);
SAME_PLACE(VirtioNetHdr, csum_start, virtio_net_hdr, csum_start);
SAME_PLACE(VirtioNetHdr, csum_offset, virtio_net_hdr, csum_offset);

SAME_SIZE(VirtioNetHdrMrgRxbuf, virtio_net_hdr_mrg_rxbuf);
SAME_PLACE(VirtioNetHdrMrgRxbuf, hdr, virtio_net_hdr_mrg_rxbuf, hdr);
SAME_PLACE(VirtioNetHdrMrgRxbuf, num_buffers, virtio_net_hdr_mrg_rxbuf, num_buffers);

SAME_SIZE(VirtioNetCtrlHdr, virtio_net_ctrl_hdr);
SAME_PLACE(VirtioNetCtrlHdr, command_class, virtio_net_ctrl_hdr, named_class);
SAME_PLACE(VirtioNetCtrlHdr, command, virtio_net_ctrl_hdr, cmd);
static_assert(kVirtioNetOk == VIRTIO_NET_OK);
static_assert(kVirtioNetErr == VIRTIO_NET_ERR);
static_assert(kVirtioNetCtrlRx == VIRTIO_NET_CTRL_RX);
static_assert(kVirtioNetCtrlRxPromisc == VIRTIO_NET_CTRL_RX_PROMISC);
static_assert(kVirtioNetCtrlRxAllmulti == VIRTIO_NET_CTRL_RX_ALLMULTI);
static_assert(kVirtioNetCtrlRxAlluni == VIRTIO_NET_CTRL_RX_ALLUNI);
static_assert(kVirtioNetCtrlRxNomulti == VIRTIO_NET_CTRL_RX_NOMULTI);
static_assert(kVirtioNetCtrlRxNouni == VIRTIO_NET_CTRL_RX_NOUNI);
static_assert(kVirtioNetCtrlRxNobcast == VIRTIO_NET_CTRL_RX_NOBCAST);
static_assert(kVirtioNetCtrlMac == VIRTIO_NET_CTRL_MAC);
static_assert(kVirtioNetCtrlMacTableSet == VIRTIO_NET_CTRL_MAC_TABLE_SET);
static_assert(kVirtioNetCtrlMacAddrSet == VIRTIO_NET_CTRL_MAC_ADDR_SET);

SAME_SIZE(VirtioNetCtrlMac, virtio_net_ctrl_mac);
SAME_PLACE(VirtioNetCtrlMac, entries, virtio_net_ctrl_mac, entries);
static_assert(kVirtioNetCtrlVlan == VIRTIO_NET_CTRL_VLAN);
static_assert(kVirtioNetCtrlVlanAdd == VIRTIO_NET_CTRL_VLAN_ADD);
static_assert(kVirtioNetCtrlVlanDel == VIRTIO_NET_CTRL_VLAN_DEL);
static_assert(kVirtioNetCtrlAnnounce == VIRTIO_NET_CTRL_ANNOUNCE);
static_assert(kVirtioNetCtrlAnnounceAck == VIRTIO_NET_CTRL_ANNOUNCE_ACK);
static_assert(kVirtioNetCtrlMq == VIRTIO_NET_CTRL_MQ);
static_assert(kVirtioNetCtrlMqVqPairsSet == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET);
static_assert(kVirtioNetCtrlMqRssConfig == VIRTIO_NET_CTRL_MQ_RSS_CONFIG);
static_assert(kVirtioNetCtrlMqHashConfig == VIRTIO_NET_CTRL_MQ_HASH_CONFIG);

SAME_SIZE(VirtioNetCtrlMq, virtio_net_ctrl_mq);
SAME_PLACE(VirtioNetCtrlMq, virtqueue_pairs, virtio_net_ctrl_mq, virtqueue_pairs);
static_assert(kVirtioNetCtrlMqVqPairsMin == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN);
static_assert(kVirtioNetCtrlMqVqPairsMax == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX);

static_assert(sizeof(VirtioNetRssConfigHdr) == 8);
AT(VirtioNetRssConfigHdr, hash_types, 0, 4);
AT(VirtioNetRssConfigHdr, indirection_table_mask, 4, 2);
AT(VirtioNetRssConfigHdr, unclassified_queue, 6, 2);

static_assert(sizeof(VirtioNetRssConfigTrailer) == 4);
AT(VirtioNetRssConfigTrailer, max_tx_vq, 0, 2);
AT(VirtioNetRssConfigTrailer, hash_key_length, 2, 1);

SAME_SIZE(VirtioNetHashConfig, virtio_net_hash_config);
SAME_PLACE(VirtioNetHashConfig, hash_types, virtio_net_hash_config, hash_types);
SAME_PLACE(VirtioNetHashConfig, reserved, virtio_net_hash_config, reserved);
SAME_PLACE(VirtioNetHashConfig, hash_key_length, virtio_net_hash_config, hash_key_length);
static_assert(kVirtioNetCtrlGuestOffloads == VIRTIO_NET_CTRL_GUEST_OFFLOADS);
static_assert(kVirtioNetCtrlGuestOffloadsSet == VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET);
static_assert(kVirtioNetCtrlNotfCoal == VIRTIO_NET_CTRL_NOTF_COAL);
static_assert(kVirtioNetCtrlNotfCoalTxSet == VIRTIO_NET_CTRL_NOTF_COAL_TX_SET);
static_assert(kVirtioNetCtrlNotfCoalRxSet == VIRTIO_NET_CTRL_NOTF_COAL_RX_SET);
static_assert(kVirtioNetCtrlNotfCoalVqSet == VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET);
static_assert(kVirtioNetCtrlNotfCoalVqGet == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET);

SAME_SIZE(VirtioNetCtrlCoalTx, virtio_net_ctrl_coal_tx);
SAME_PLACE(VirtioNetCtrlCoalTx, tx_max_packets, virtio_net_ctrl_coal_tx, tx_max_packets);
SAME_PLACE(VirtioNetCtrlCoalTx, tx_usecs, virtio_net_ctrl_coal_tx, tx_usecs);

SAME_SIZE(VirtioNetCtrlCoalRx, virtio_net_ctrl_coal_rx);
SAME_PLACE(VirtioNetCtrlCoalRx, rx_max_packets, virtio_net_ctrl_coal_rx, rx_max_packets);
SAME_PLACE(VirtioNetCtrlCoalRx, rx_usecs, virtio_net_ctrl_coal_rx, rx_usecs);

static_assert(sizeof(VirtioNetCtrlCoal) == 8);
AT(VirtioNetCtrlCoal, max_packets, 0, 4);
AT(VirtioNetCtrlCoal, max_usecs, 4, 4);

static_assert(sizeof(VirtioNetCtrlCoalVq) == 12);
AT(VirtioNetCtrlCoalVq, vqn, 0, 2);
AT(VirtioNetCtrlCoalVq, reserved, 2, 2);
AT(VirtioNetCtrlCoalVq, coal, 4, 8);
static_assert(kVirtioNetCtrlStats == VIRTIO_NET_CTRL_STATS);
static_assert(kVirtioNetCtrlStatsQuery == VIRTIO_NET_CTRL_STATS_QUERY);
static_assert(kVirtioNetCtrlStatsGet == VIRTIO_NET_CTRL_STATS_GET);
static_assert(kVirtioNetStatsTypeCvq == VIRTIO_NET_STATS_TYPE_CVQ);
static_assert(kVirtioNetStatsTypeRxBasic == VIRTIO_NET_STATS_TYPE_RX_BASIC);
static_assert(kVirtioNetStatsTypeRxCsum == VIRTIO_NET_STATS_TYPE_RX_CSUM);
static_assert(kVirtioNetStatsTypeRxGso == VIRTIO_NET_STATS_TYPE_RX_GSO);
static_assert(kVirtioNetStatsTypeRxSpeed == VIRTIO_NET_STATS_TYPE_RX_SPEED);
static_assert(kVirtioNetStatsTypeTxBasic == VIRTIO_NET_STATS_TYPE_TX_BASIC);
static_assert(kVirtioNetStatsTypeTxCsum == VIRTIO_NET_STATS_TYPE_TX_CSUM);
static_assert(kVirtioNetStatsTypeTxGso == VIRTIO_NET_STATS_TYPE_TX_GSO);
static_assert(kVirtioNetStatsTypeTxSpeed == VIRTIO_NET_STATS_TYPE_TX_SPEED);

static_assert(sizeof(VirtioNetStatsCapabilities) == 8);
AT(VirtioNetStatsCapabilities, supported_stats_types, 0, 8);

static_assert(sizeof(VirtioNetQueueStats) == 16);
AT(VirtioNetQueueStats, vq_index, 0, 2);
AT(VirtioNetQueueStats, reserved, 2, 6);
AT(VirtioNetQueueStats, types_bitmap, 8, 8);

static_assert(sizeof(VirtioNetStatsReplyHdr) == 8);
AT(VirtioNetStatsReplyHdr, type, 0, 1);
AT(VirtioNetStatsReplyHdr, reserved, 1, 1);
AT(VirtioNetStatsReplyHdr, vq_index, 2, 2);
AT(VirtioNetStatsReplyHdr, reserved1, 4, 2);
AT(VirtioNetStatsReplyHdr, size, 6, 2);
static_assert(kVirtioNetStatsTypeReplyCvq == VIRTIO_NET_STATS_TYPE_REPLY_CVQ);
static_assert(kVirtioNetStatsTypeReplyRxBasic == VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC);
static_assert(kVirtioNetStatsTypeReplyRxCsum == VIRTIO_NET_STATS_TYPE_REPLY_RX_CSUM);
static_assert(kVirtioNetStatsTypeReplyRxGso == VIRTIO_NET_STATS_TYPE_REPLY_RX_GSO);
static_assert(kVirtioNetStatsTypeReplyRxSpeed == VIRTIO_NET_STATS_TYPE_REPLY_RX_SPEED);
static_assert(kVirtioNetStatsTypeReplyTxBasic == VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC);
static_assert(kVirtioNetStatsTypeReplyTxCsum == VIRTIO_NET_STATS_TYPE_REPLY_TX_CSUM);
static_assert(kVirtioNetStatsTypeReplyTxGso == VIRTIO_NET_STATS_TYPE_REPLY_TX_GSO);
static_assert(kVirtioNetStatsTypeReplyTxSpeed == VIRTIO_NET_STATS_TYPE_REPLY_TX_SPEED);

static_assert(sizeof(VirtioNetStatsCvq) == 24);
AT(VirtioNetStatsCvq, hdr, 0, 8);
AT(VirtioNetStatsCvq, command_num, 8, 8);
AT(VirtioNetStatsCvq, ok_num, 16, 8);

static_assert(sizeof(VirtioNetStatsRxBasic) == 56);
AT(VirtioNetStatsRxBasic, hdr, 0, 8);
AT(VirtioNetStatsRxBasic, rx_notifications, 8, 8);
AT(VirtioNetStatsRxBasic, rx_packets, 16, 8);
AT(VirtioNetStatsRxBasic, rx_bytes, 24, 8);
AT(VirtioNetStatsRxBasic, rx_interrupts, 32, 8);
AT(VirtioNetStatsRxBasic, rx_drops, 40, 8);
AT(VirtioNetStatsRxBasic, rx_drop_overruns, 48, 8);

static_assert(sizeof(VirtioNetStatsTxBasic) == 56);
AT(VirtioNetStatsTxBasic, hdr, 0, 8);
AT(VirtioNetStatsTxBasic, tx_notifications, 8, 8);
AT(VirtioNetStatsTxBasic, tx_packets, 16, 8);
AT(VirtioNetStatsTxBasic, tx_bytes, 24, 8);
AT(VirtioNetStatsTxBasic, tx_interrupts, 32, 8);
AT(VirtioNetStatsTxBasic, tx_drops, 40, 8);
AT(VirtioNetStatsTxBasic, tx_drop_malformed, 48, 8);

static_assert(sizeof(VirtioNetStatsRxCsum) == 40);
AT(VirtioNetStatsRxCsum, hdr, 0, 8);
AT(VirtioNetStatsRxCsum, rx_csum_valid, 8, 8);
AT(VirtioNetStatsRxCsum, rx_needs_csum, 16, 8);
AT(VirtioNetStatsRxCsum, rx_csum_none, 24, 8);
AT(VirtioNetStatsRxCsum, rx_csum_bad, 32, 8);

static_assert(sizeof(VirtioNetStatsTxCsum) == 24);
AT(VirtioNetStatsTxCsum, hdr, 0, 8);
AT(VirtioNetStatsTxCsum, tx_csum_none, 8, 8);
AT(VirtioNetStatsTxCsum, tx_needs_csum, 16, 8);

static_assert(sizeof(VirtioNetStatsRxGso) == 40);
AT(VirtioNetStatsRxGso, hdr, 0, 8);
AT(VirtioNetStatsRxGso, rx_gso_packets, 8, 8);
AT(VirtioNetStatsRxGso, rx_gso_bytes, 16, 8);
AT(VirtioNetStatsRxGso, rx_gso_packets_coalesced, 24, 8);
AT(VirtioNetStatsRxGso, rx_gso_bytes_coalesced, 32, 8);

static_assert(sizeof(VirtioNetStatsTxGso) == 56);
AT(VirtioNetStatsTxGso, hdr, 0, 8);
AT(VirtioNetStatsTxGso, tx_gso_packets, 8, 8);
AT(VirtioNetStatsTxGso, tx_gso_bytes, 16, 8);
AT(VirtioNetStatsTxGso, tx_gso_segments, 24, 8);
AT(VirtioNetStatsTxGso, tx_gso_segments_bytes, 32, 8);
AT(VirtioNetStatsTxGso, tx_gso_packets_noseg, 40, 8);
AT(VirtioNetStatsTxGso, tx_gso_bytes_noseg, 48, 8);

static_assert(sizeof(VirtioNetStatsRxSpeed) == 24);
AT(VirtioNetStatsRxSpeed, hdr, 0, 8);
AT(VirtioNetStatsRxSpeed, rx_ratelimit_packets, 8, 8);
AT(VirtioNetStatsRxSpeed, rx_ratelimit_bytes, 16, 8);

static_assert(sizeof(VirtioNetStatsTxSpeed) == 24);
AT(VirtioNetStatsTxSpeed, hdr, 0, 8);
AT(VirtioNetStatsTxSpeed, tx_ratelimit_packets, 8, 8);
AT(VirtioNetStatsTxSpeed, tx_ratelimit_bytes, 16, 8);

}  // namespace
}  // namespace pepita::abi
