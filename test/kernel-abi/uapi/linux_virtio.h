#pragma once

// Linux's headers of virtio and vhost, and what they have since 6.1, the kernel of Debian 12.
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_pmem.h>
#include <linux/virtio_vsock.h>

// NOLINTBEGIN(cppcoreguidelines-macro-usage): they are macros there.
// Two are for C: one has a member with the name of a keyword, the other functions.
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wkeyword-macro"
#endif
#define class named_class  // NOLINT(*-reserved-identifier, readability-identifier-naming)
#include <linux/virtio_net.h>
#undef class
#ifdef __clang__
#pragma clang diagnostic pop
#endif
#define VIRTIO_RING_NO_LEGACY
#include <linux/virtio_ring.h>
// Includes the one before.
#include <linux/vhost_types.h>

#ifndef VIRTIO_NET_F_DEVICE_STATS
#define VIRTIO_NET_F_DEVICE_STATS 50
#endif
#ifndef VIRTIO_NET_F_VQ_NOTF_COAL
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#endif
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#endif
#ifndef VIRTIO_NET_F_GUEST_USO6
#define VIRTIO_NET_F_GUEST_USO6 55
#endif
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_F_GUEST_HDRLEN
#define VIRTIO_NET_F_GUEST_HDRLEN 59
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO 65
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM 66
#endif
#ifndef VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO 67
#endif
#ifndef VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM
#define VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM 68
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_MAPPED
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_MAPPED 46
#endif
#ifndef VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM_MAPPED
#define VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM_MAPPED 47
#endif
#ifndef VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM
#define VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM 8
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 32
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6 64
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_TUNNEL
#define VIRTIO_NET_HDR_GSO_UDP_TUNNEL 96
#endif
#ifndef VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#endif
#ifndef VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif
#ifndef VIRTIO_NET_CTRL_STATS
#define VIRTIO_NET_CTRL_STATS 8
#endif
#ifndef VIRTIO_NET_CTRL_STATS_QUERY
#define VIRTIO_NET_CTRL_STATS_QUERY 0
#endif
#ifndef VIRTIO_NET_CTRL_STATS_GET
#define VIRTIO_NET_CTRL_STATS_GET 1
#endif
#ifndef VIRTIO_NET_STATS_TYPE_CVQ
#define VIRTIO_NET_STATS_TYPE_CVQ 0x100000000ULL
#endif
#ifndef VIRTIO_NET_STATS_TYPE_RX_BASIC
#define VIRTIO_NET_STATS_TYPE_RX_BASIC 1
#endif
#ifndef VIRTIO_NET_STATS_TYPE_RX_CSUM
#define VIRTIO_NET_STATS_TYPE_RX_CSUM 2
#endif
#ifndef VIRTIO_NET_STATS_TYPE_RX_GSO
#define VIRTIO_NET_STATS_TYPE_RX_GSO 4
#endif
#ifndef VIRTIO_NET_STATS_TYPE_RX_SPEED
#define VIRTIO_NET_STATS_TYPE_RX_SPEED 8
#endif
#ifndef VIRTIO_NET_STATS_TYPE_TX_BASIC
#define VIRTIO_NET_STATS_TYPE_TX_BASIC 65536
#endif
#ifndef VIRTIO_NET_STATS_TYPE_TX_CSUM
#define VIRTIO_NET_STATS_TYPE_TX_CSUM 131072
#endif
#ifndef VIRTIO_NET_STATS_TYPE_TX_GSO
#define VIRTIO_NET_STATS_TYPE_TX_GSO 262144
#endif
#ifndef VIRTIO_NET_STATS_TYPE_TX_SPEED
#define VIRTIO_NET_STATS_TYPE_TX_SPEED 524288
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_CVQ
#define VIRTIO_NET_STATS_TYPE_REPLY_CVQ 32
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_BASIC 0
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_RX_CSUM
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_CSUM 1
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_RX_GSO
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_GSO 2
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_RX_SPEED
#define VIRTIO_NET_STATS_TYPE_REPLY_RX_SPEED 3
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_BASIC 16
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_TX_CSUM
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_CSUM 17
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_TX_GSO
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_GSO 18
#endif
#ifndef VIRTIO_NET_STATS_TYPE_REPLY_TX_SPEED
#define VIRTIO_NET_STATS_TYPE_REPLY_TX_SPEED 19
#endif
#ifndef VIRTIO_BALLOON_S_OOM_KILL
#define VIRTIO_BALLOON_S_OOM_KILL 10
#endif
#ifndef VIRTIO_BALLOON_S_ALLOC_STALL
#define VIRTIO_BALLOON_S_ALLOC_STALL 11
#endif
#ifndef VIRTIO_BALLOON_S_ASYNC_SCAN
#define VIRTIO_BALLOON_S_ASYNC_SCAN 12
#endif
#ifndef VIRTIO_BALLOON_S_DIRECT_SCAN
#define VIRTIO_BALLOON_S_DIRECT_SCAN 13
#endif
#ifndef VIRTIO_BALLOON_S_ASYNC_RECLAIM
#define VIRTIO_BALLOON_S_ASYNC_RECLAIM 14
#endif
#ifndef VIRTIO_BALLOON_S_DIRECT_RECLAIM
#define VIRTIO_BALLOON_S_DIRECT_RECLAIM 15
#endif
#ifndef VIRTIO_PMEM_F_SHMEM_REGION
#define VIRTIO_PMEM_F_SHMEM_REGION 0
#endif
#ifndef VIRTIO_PMEM_SHMEM_REGION_ID
#define VIRTIO_PMEM_SHMEM_REGION_ID 0
#endif
#ifndef VIRTIO_ID_SPI
#define VIRTIO_ID_SPI 45
#endif
#ifndef VIRTIO_ID_MEDIA
#define VIRTIO_ID_MEDIA 48
#endif
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif
#ifndef VIRTIO_F_NOTIF_CONFIG_DATA
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#endif
#ifndef VIRTIO_F_ADMIN_VQ
#define VIRTIO_F_ADMIN_VQ 41
#endif
#ifndef VIRTIO_BLK_F_ZONED
#define VIRTIO_BLK_F_ZONED 17
#endif
#ifndef VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE
#define VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE 6
#endif
#ifndef VIRTIO_BLK_S_ZONE_INVALID_CMD
#define VIRTIO_BLK_S_ZONE_INVALID_CMD 3
#endif
#ifndef VIRTIO_BLK_S_ZONE_OPEN_RESOURCE
#define VIRTIO_BLK_S_ZONE_OPEN_RESOURCE 5
#endif
#ifndef VIRTIO_BLK_S_ZONE_UNALIGNED_WP
#define VIRTIO_BLK_S_ZONE_UNALIGNED_WP 4
#endif
#ifndef VIRTIO_BLK_T_ZONE_APPEND
#define VIRTIO_BLK_T_ZONE_APPEND 15
#endif
#ifndef VIRTIO_BLK_T_ZONE_CLOSE
#define VIRTIO_BLK_T_ZONE_CLOSE 20
#endif
#ifndef VIRTIO_BLK_T_ZONE_FINISH
#define VIRTIO_BLK_T_ZONE_FINISH 22
#endif
#ifndef VIRTIO_BLK_T_ZONE_OPEN
#define VIRTIO_BLK_T_ZONE_OPEN 18
#endif
#ifndef VIRTIO_BLK_T_ZONE_REPORT
#define VIRTIO_BLK_T_ZONE_REPORT 16
#endif
#ifndef VIRTIO_BLK_T_ZONE_RESET
#define VIRTIO_BLK_T_ZONE_RESET 24
#endif
#ifndef VIRTIO_BLK_T_ZONE_RESET_ALL
#define VIRTIO_BLK_T_ZONE_RESET_ALL 26
#endif
#ifndef VIRTIO_BLK_ZS_CLOSED
#define VIRTIO_BLK_ZS_CLOSED 4
#endif
#ifndef VIRTIO_BLK_ZS_EMPTY
#define VIRTIO_BLK_ZS_EMPTY 1
#endif
#ifndef VIRTIO_BLK_ZS_EOPEN
#define VIRTIO_BLK_ZS_EOPEN 3
#endif
#ifndef VIRTIO_BLK_ZS_FULL
#define VIRTIO_BLK_ZS_FULL 14
#endif
#ifndef VIRTIO_BLK_ZS_IOPEN
#define VIRTIO_BLK_ZS_IOPEN 2
#endif
#ifndef VIRTIO_BLK_ZS_NOT_WP
#define VIRTIO_BLK_ZS_NOT_WP 0
#endif
#ifndef VIRTIO_BLK_ZS_OFFLINE
#define VIRTIO_BLK_ZS_OFFLINE 15
#endif
#ifndef VIRTIO_BLK_ZS_RDONLY
#define VIRTIO_BLK_ZS_RDONLY 13
#endif
#ifndef VIRTIO_BLK_ZT_CONV
#define VIRTIO_BLK_ZT_CONV 1
#endif
#ifndef VIRTIO_BLK_ZT_SWP
#define VIRTIO_BLK_ZT_SWP 3
#endif
#ifndef VIRTIO_BLK_ZT_SWR
#define VIRTIO_BLK_ZT_SWR 2
#endif
#ifndef VIRTIO_BLK_Z_HA
#define VIRTIO_BLK_Z_HA 2
#endif
#ifndef VIRTIO_BLK_Z_HM
#define VIRTIO_BLK_Z_HM 1
#endif
#ifndef VIRTIO_BLK_Z_NONE
#define VIRTIO_BLK_Z_NONE 0
#endif
#ifndef VIRTIO_PCI_CAP_VENDOR_CFG
#define VIRTIO_PCI_CAP_VENDOR_CFG 9
#endif
// NOLINTEND(cppcoreguidelines-macro-usage)
