#pragma once

#include <array>
#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

/// The network device: frames with a header, and a queue to control it.
/// A comment behind a name gives the Linux that brought it; a name without one is in Linux 6.1.
/// Source: virtio 1.3 §5.1; Linux 7.3 include/uapi/linux/virtio_net.h.
namespace pepita::abi {

// Features.
inline constexpr std::uint64_t kVirtioNetFCsum = virtio_feature(0);
inline constexpr std::uint64_t kVirtioNetFGuestCsum = virtio_feature(1);
inline constexpr std::uint64_t kVirtioNetFCtrlGuestOffloads = virtio_feature(2);
inline constexpr std::uint64_t kVirtioNetFMtu = virtio_feature(3);
inline constexpr std::uint64_t kVirtioNetFMac = virtio_feature(5);
inline constexpr std::uint64_t kVirtioNetFGso = virtio_feature(6);
inline constexpr std::uint64_t kVirtioNetFGuestTso4 = virtio_feature(7);
inline constexpr std::uint64_t kVirtioNetFGuestTso6 = virtio_feature(8);
inline constexpr std::uint64_t kVirtioNetFGuestEcn = virtio_feature(9);
inline constexpr std::uint64_t kVirtioNetFGuestUfo = virtio_feature(10);
inline constexpr std::uint64_t kVirtioNetFHostTso4 = virtio_feature(11);
inline constexpr std::uint64_t kVirtioNetFHostTso6 = virtio_feature(12);
inline constexpr std::uint64_t kVirtioNetFHostEcn = virtio_feature(13);
inline constexpr std::uint64_t kVirtioNetFHostUfo = virtio_feature(14);
inline constexpr std::uint64_t kVirtioNetFMrgRxbuf = virtio_feature(15);
inline constexpr std::uint64_t kVirtioNetFStatus = virtio_feature(16);
inline constexpr std::uint64_t kVirtioNetFCtrlVq = virtio_feature(17);
inline constexpr std::uint64_t kVirtioNetFCtrlRx = virtio_feature(18);
inline constexpr std::uint64_t kVirtioNetFCtrlVlan = virtio_feature(19);
inline constexpr std::uint64_t kVirtioNetFCtrlRxExtra = virtio_feature(20);
inline constexpr std::uint64_t kVirtioNetFGuestAnnounce = virtio_feature(21);
inline constexpr std::uint64_t kVirtioNetFMq = virtio_feature(22);
inline constexpr std::uint64_t kVirtioNetFCtrlMacAddr = virtio_feature(23);
inline constexpr std::uint64_t kVirtioNetFDeviceStats = virtio_feature(50);  // 6.10
inline constexpr std::uint64_t kVirtioNetFVqNotfCoal = virtio_feature(52);   // 6.6
inline constexpr std::uint64_t kVirtioNetFNotfCoal = virtio_feature(53);
inline constexpr std::uint64_t kVirtioNetFGuestUso4 = virtio_feature(54);  // 6.2
inline constexpr std::uint64_t kVirtioNetFGuestUso6 = virtio_feature(55);  // 6.2
inline constexpr std::uint64_t kVirtioNetFHostUso = virtio_feature(56);    // 6.2
inline constexpr std::uint64_t kVirtioNetFHashReport = virtio_feature(57);
inline constexpr std::uint64_t kVirtioNetFGuestHdrlen = virtio_feature(59);  // 6.4
inline constexpr std::uint64_t kVirtioNetFRss = virtio_feature(60);
inline constexpr std::uint64_t kVirtioNetFRscExt = virtio_feature(61);
inline constexpr std::uint64_t kVirtioNetFStandby = virtio_feature(62);
inline constexpr std::uint64_t kVirtioNetFSpeedDuplex = virtio_feature(63);

// Features beyond the 64th, by their bits; and where control of offloads has two of them.
inline constexpr unsigned kVirtioNetFGuestUdpTunnelGso = 65;            // 6.17
inline constexpr unsigned kVirtioNetFGuestUdpTunnelGsoCsum = 66;        // 6.17
inline constexpr unsigned kVirtioNetFHostUdpTunnelGso = 67;             // 6.17
inline constexpr unsigned kVirtioNetFHostUdpTunnelGsoCsum = 68;         // 6.17
inline constexpr unsigned kVirtioNetFGuestUdpTunnelGsoMapped = 46;      // 6.17
inline constexpr unsigned kVirtioNetFGuestUdpTunnelGsoCsumMapped = 47;  // 6.17

/// The configuration space.
struct [[gnu::packed]] VirtioNetConfig {
    std::array<std::uint8_t, 6> mac;
    std::uint16_t status;
    std::uint16_t max_virtqueue_pairs;
    std::uint16_t mtu;
    std::uint32_t speed;
    std::uint8_t duplex;
    std::uint8_t rss_max_key_size;
    std::uint16_t rss_max_indirection_table_length;
    std::uint32_t supported_hash_types;
};

// VirtioNetConfig::status.
inline constexpr std::uint16_t kVirtioNetSLinkUp = 1;
inline constexpr std::uint16_t kVirtioNetSAnnounce = 2;

// VirtioNetConfig::supported_hash_types.
inline constexpr std::uint32_t kVirtioNetRssHashTypeIpv4 = 1;
inline constexpr std::uint32_t kVirtioNetRssHashTypeTcpv4 = 2;
inline constexpr std::uint32_t kVirtioNetRssHashTypeUdpv4 = 4;
inline constexpr std::uint32_t kVirtioNetRssHashTypeIpv6 = 8;
inline constexpr std::uint32_t kVirtioNetRssHashTypeTcpv6 = 16;
inline constexpr std::uint32_t kVirtioNetRssHashTypeUdpv6 = 32;
inline constexpr std::uint32_t kVirtioNetRssHashTypeIpEx = 64;
inline constexpr std::uint32_t kVirtioNetRssHashTypeTcpEx = 128;
inline constexpr std::uint32_t kVirtioNetRssHashTypeUdpEx = 256;

/// In front of each frame.
struct VirtioNetHdrV1 {
    struct Checksum {
        std::uint16_t start;
        std::uint16_t offset;
    };
    struct Coalesced {
        std::uint16_t segments;
        std::uint16_t dup_acks;
    };
    std::uint8_t flags;
    std::uint8_t gso_type;
    std::uint16_t hdr_len;
    std::uint16_t gso_size;
    union {
        Checksum csum;
        Coalesced rsc;  // with kVirtioNetHdrFRscInfo
    };
    std::uint16_t num_buffers;
};

// VirtioNetHdrV1::flags.
inline constexpr std::uint8_t kVirtioNetHdrFNeedsCsum = 1;
inline constexpr std::uint8_t kVirtioNetHdrFDataValid = 2;
inline constexpr std::uint8_t kVirtioNetHdrFRscInfo = 4;
inline constexpr std::uint8_t kVirtioNetHdrFUdpTunnelCsum = 8;  // 6.17

// VirtioNetHdrV1::gso_type.
inline constexpr std::uint8_t kVirtioNetHdrGsoNone = 0x0;
inline constexpr std::uint8_t kVirtioNetHdrGsoTcpv4 = 0x1;
inline constexpr std::uint8_t kVirtioNetHdrGsoUdp = 0x3;
inline constexpr std::uint8_t kVirtioNetHdrGsoTcpv6 = 0x4;
inline constexpr std::uint8_t kVirtioNetHdrGsoUdpL4 = 0x5;           // 6.2
inline constexpr std::uint8_t kVirtioNetHdrGsoUdpTunnelIpv4 = 0x20;  // 6.17
inline constexpr std::uint8_t kVirtioNetHdrGsoUdpTunnelIpv6 = 0x40;  // 6.17
inline constexpr std::uint8_t kVirtioNetHdrGsoUdpTunnel = 0x60;      // 6.17
inline constexpr std::uint8_t kVirtioNetHdrGsoEcn = 0x80;

/// With kVirtioNetFHashReport.
struct VirtioNetHdrV1Hash {
    VirtioNetHdrV1 hdr;
    std::uint16_t hash_value_lo;  // halves, as the whole is not aligned in VirtioNetHdrV1HashTunnel
    std::uint16_t hash_value_hi;
    std::uint16_t hash_report;
    std::uint16_t padding;
};

// VirtioNetHdrV1Hash::hash_report.
inline constexpr std::uint16_t kVirtioNetHashReportNone = 0;
inline constexpr std::uint16_t kVirtioNetHashReportIpv4 = 1;
inline constexpr std::uint16_t kVirtioNetHashReportTcpv4 = 2;
inline constexpr std::uint16_t kVirtioNetHashReportUdpv4 = 3;
inline constexpr std::uint16_t kVirtioNetHashReportIpv6 = 4;
inline constexpr std::uint16_t kVirtioNetHashReportTcpv6 = 5;
inline constexpr std::uint16_t kVirtioNetHashReportUdpv6 = 6;
inline constexpr std::uint16_t kVirtioNetHashReportIpv6Ex = 7;
inline constexpr std::uint16_t kVirtioNetHashReportTcpv6Ex = 8;
inline constexpr std::uint16_t kVirtioNetHashReportUdpv6Ex = 9;

/// With features of UDP tunnels. Since Linux 6.17.
struct VirtioNetHdrV1HashTunnel {
    VirtioNetHdrV1Hash hash_hdr;
    std::uint16_t outer_th_offset;
    std::uint16_t inner_nh_offset;
};

/// Of a device before virtio 1.0.
struct VirtioNetHdr {
    std::uint8_t flags;
    std::uint8_t gso_type;
    std::uint16_t hdr_len;
    std::uint16_t gso_size;
    std::uint16_t csum_start;
    std::uint16_t csum_offset;
};

/// Of a device before virtio 1.0 with kVirtioNetFMrgRxbuf.
struct VirtioNetHdrMrgRxbuf {
    VirtioNetHdr hdr;
    std::uint16_t num_buffers;
};

/// What a request to the control queue begins with.
struct VirtioNetCtrlHdr {
    std::uint8_t command_class;
    std::uint8_t command;
};

// How it ends.
inline constexpr std::uint8_t kVirtioNetOk = 0;
inline constexpr std::uint8_t kVirtioNetErr = 1;

// Classes, each with its commands.
inline constexpr std::uint8_t kVirtioNetCtrlRx = 0;
inline constexpr std::uint8_t kVirtioNetCtrlRxPromisc = 0;
inline constexpr std::uint8_t kVirtioNetCtrlRxAllmulti = 1;
inline constexpr std::uint8_t kVirtioNetCtrlRxAlluni = 2;
inline constexpr std::uint8_t kVirtioNetCtrlRxNomulti = 3;
inline constexpr std::uint8_t kVirtioNetCtrlRxNouni = 4;
inline constexpr std::uint8_t kVirtioNetCtrlRxNobcast = 5;

inline constexpr std::uint8_t kVirtioNetCtrlMac = 1;
inline constexpr std::uint8_t kVirtioNetCtrlMacTableSet = 0;
inline constexpr std::uint8_t kVirtioNetCtrlMacAddrSet = 1;

/// One of the two tables of MAC_TABLE_SET: unicast and multicast. What follows is not counted.
struct [[gnu::packed]] VirtioNetCtrlMac {
    std::uint32_t entries;
};

inline constexpr std::uint8_t kVirtioNetCtrlVlan = 2;
inline constexpr std::uint8_t kVirtioNetCtrlVlanAdd = 0;
inline constexpr std::uint8_t kVirtioNetCtrlVlanDel = 1;
inline constexpr std::uint8_t kVirtioNetCtrlAnnounce = 3;
inline constexpr std::uint8_t kVirtioNetCtrlAnnounceAck = 0;
inline constexpr std::uint8_t kVirtioNetCtrlMq = 4;
inline constexpr std::uint8_t kVirtioNetCtrlMqVqPairsSet = 0;
inline constexpr std::uint8_t kVirtioNetCtrlMqRssConfig = 1;
inline constexpr std::uint8_t kVirtioNetCtrlMqHashConfig = 2;

struct VirtioNetCtrlMq {
    std::uint16_t virtqueue_pairs;
};

inline constexpr std::uint16_t kVirtioNetCtrlMqVqPairsMin = 0x1;
inline constexpr std::uint16_t kVirtioNetCtrlMqVqPairsMax = 0x8000;

/// MQ_RSS_CONFIG: this, the table of queues, and VirtioNetRssConfigTrailer. What follows is not
/// counted.
struct VirtioNetRssConfigHdr {
    std::uint32_t hash_types;
    std::uint16_t indirection_table_mask;
    std::uint16_t unclassified_queue;
};

/// What follows is not counted.
struct VirtioNetRssConfigTrailer {
    std::uint16_t max_tx_vq;
    std::uint8_t hash_key_length;
};

/// MQ_HASH_CONFIG. What follows is not counted.
struct VirtioNetHashConfig {
    std::uint32_t hash_types;
    std::array<std::uint16_t, 4> reserved;
    std::uint8_t hash_key_length;
};

inline constexpr std::uint8_t kVirtioNetCtrlGuestOffloads = 5;
inline constexpr std::uint8_t kVirtioNetCtrlGuestOffloadsSet = 0;
inline constexpr std::uint8_t kVirtioNetCtrlNotfCoal = 6;
inline constexpr std::uint8_t kVirtioNetCtrlNotfCoalTxSet = 0;
inline constexpr std::uint8_t kVirtioNetCtrlNotfCoalRxSet = 1;
inline constexpr std::uint8_t kVirtioNetCtrlNotfCoalVqSet = 2;  // 6.6
inline constexpr std::uint8_t kVirtioNetCtrlNotfCoalVqGet = 3;  // 6.6

struct VirtioNetCtrlCoalTx {
    std::uint32_t tx_max_packets;
    std::uint32_t tx_usecs;
};

struct VirtioNetCtrlCoalRx {
    std::uint32_t rx_max_packets;
    std::uint32_t rx_usecs;
};

struct VirtioNetCtrlCoal {
    std::uint32_t max_packets;
    std::uint32_t max_usecs;
};

/// Since Linux 6.6.
struct VirtioNetCtrlCoalVq {
    std::uint16_t vqn;
    std::uint16_t reserved;
    VirtioNetCtrlCoal coal;
};

inline constexpr std::uint8_t kVirtioNetCtrlStats = 8;       // 6.10
inline constexpr std::uint8_t kVirtioNetCtrlStatsQuery = 0;  // 6.10
inline constexpr std::uint8_t kVirtioNetCtrlStatsGet = 1;    // 6.10

// The statistics that STATS_QUERY reports, as a mask.
inline constexpr std::uint64_t kVirtioNetStatsTypeCvq = 0x100000000;  // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeRxBasic = 0x1;      // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeRxCsum = 0x2;       // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeRxGso = 0x4;        // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeRxSpeed = 0x8;      // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeTxBasic = 0x10000;  // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeTxCsum = 0x20000;   // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeTxGso = 0x40000;    // 6.10
inline constexpr std::uint64_t kVirtioNetStatsTypeTxSpeed = 0x80000;  // 6.10

/// The answer to STATS_QUERY.
struct VirtioNetStatsCapabilities {
    std::array<std::uint64_t, 1> supported_stats_types;
};

/// STATS_GET: one or more of these.
struct VirtioNetQueueStats {
    std::uint16_t vq_index;
    std::array<std::uint16_t, 3> reserved;
    std::uint64_t types_bitmap;
};

/// What each part of the answer to STATS_GET begins with.
struct VirtioNetStatsReplyHdr {
    std::uint8_t type;
    std::uint8_t reserved;
    std::uint16_t vq_index;
    std::uint16_t reserved1;
    std::uint16_t size;
};

// VirtioNetStatsReplyHdr::type.
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyCvq = 32;      // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyRxBasic = 0;   // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyRxCsum = 1;    // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyRxGso = 2;     // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyRxSpeed = 3;   // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyTxBasic = 16;  // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyTxCsum = 17;   // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyTxGso = 18;    // 6.10
inline constexpr std::uint8_t kVirtioNetStatsTypeReplyTxSpeed = 19;  // 6.10

struct VirtioNetStatsCvq {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t command_num;
    std::uint64_t ok_num;
};

struct VirtioNetStatsRxBasic {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t rx_notifications;
    std::uint64_t rx_packets;
    std::uint64_t rx_bytes;
    std::uint64_t rx_interrupts;
    std::uint64_t rx_drops;
    std::uint64_t rx_drop_overruns;
};

struct VirtioNetStatsTxBasic {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t tx_notifications;
    std::uint64_t tx_packets;
    std::uint64_t tx_bytes;
    std::uint64_t tx_interrupts;
    std::uint64_t tx_drops;
    std::uint64_t tx_drop_malformed;
};

struct VirtioNetStatsRxCsum {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t rx_csum_valid;
    std::uint64_t rx_needs_csum;
    std::uint64_t rx_csum_none;
    std::uint64_t rx_csum_bad;
};

struct VirtioNetStatsTxCsum {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t tx_csum_none;
    std::uint64_t tx_needs_csum;
};

struct VirtioNetStatsRxGso {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t rx_gso_packets;
    std::uint64_t rx_gso_bytes;
    std::uint64_t rx_gso_packets_coalesced;
    std::uint64_t rx_gso_bytes_coalesced;
};

struct VirtioNetStatsTxGso {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t tx_gso_packets;
    std::uint64_t tx_gso_bytes;
    std::uint64_t tx_gso_segments;
    std::uint64_t tx_gso_segments_bytes;
    std::uint64_t tx_gso_packets_noseg;
    std::uint64_t tx_gso_bytes_noseg;
};

struct VirtioNetStatsRxSpeed {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t rx_ratelimit_packets;
    std::uint64_t rx_ratelimit_bytes;
};

struct VirtioNetStatsTxSpeed {
    VirtioNetStatsReplyHdr hdr;
    std::uint64_t tx_ratelimit_packets;
    std::uint64_t tx_ratelimit_bytes;
};

}  // namespace pepita::abi
