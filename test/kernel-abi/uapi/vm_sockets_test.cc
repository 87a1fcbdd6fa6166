#include "kernel-abi/uapi/vm_sockets.h"

#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>

#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

SAME_SIZE(SockaddrVm, sockaddr_vm);
SAME_PLACE(SockaddrVm, svm_family, sockaddr_vm, svm_family);
SAME_PLACE(SockaddrVm, svm_reserved1, sockaddr_vm, svm_reserved1);
SAME_PLACE(SockaddrVm, svm_port, sockaddr_vm, svm_port);
SAME_PLACE(SockaddrVm, svm_cid, sockaddr_vm, svm_cid);
SAME_PLACE(SockaddrVm, svm_flags, sockaddr_vm, svm_flags);
SAME_PLACE(SockaddrVm, svm_zero, sockaddr_vm, svm_zero);
static_assert(kVmaddrCidAny == VMADDR_CID_ANY);
static_assert(kVmaddrCidHypervisor == VMADDR_CID_HYPERVISOR);
static_assert(kVmaddrCidLocal == VMADDR_CID_LOCAL);
static_assert(kVmaddrCidHost == VMADDR_CID_HOST);
static_assert(kVmaddrPortAny == VMADDR_PORT_ANY);
static_assert(kVmaddrFlagToHost == VMADDR_FLAG_TO_HOST);
static_assert(kSoVmSocketsBufferSize == SO_VM_SOCKETS_BUFFER_SIZE);
static_assert(kSoVmSocketsBufferMinSize == SO_VM_SOCKETS_BUFFER_MIN_SIZE);
static_assert(kSoVmSocketsBufferMaxSize == SO_VM_SOCKETS_BUFFER_MAX_SIZE);
static_assert(kSoVmSocketsPeerHostVmId == SO_VM_SOCKETS_PEER_HOST_VM_ID);
static_assert(kSoVmSocketsTrusted == SO_VM_SOCKETS_TRUSTED);
static_assert(kSoVmSocketsConnectTimeoutOld == SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD);
static_assert(kSoVmSocketsNonblockTxrx == SO_VM_SOCKETS_NONBLOCK_TXRX);
static_assert(kSoVmSocketsConnectTimeoutNew == SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW);
static_assert(kSoVmSocketsConnectTimeout == SO_VM_SOCKETS_CONNECT_TIMEOUT);
static_assert(kIoctlVmSocketsGetLocalCid == IOCTL_VM_SOCKETS_GET_LOCAL_CID);
static_assert(kVmSocketsInvalidVersion == VM_SOCKETS_INVALID_VERSION);
static_assert(kSolVsock == SOL_VSOCK);
static_assert(kVsockRecverr == VSOCK_RECVERR);

}  // namespace
}  // namespace pepita::abi
