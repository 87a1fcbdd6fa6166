#include "runtime/guest/vsock.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vm_sockets.h"

namespace pepita::runtime::guest {
namespace {

constexpr int kBacklog = 1024;  // more than streams that are opened at once

abi::SockaddrVm address_of(std::uint32_t cid, std::uint32_t port) {
    abi::SockaddrVm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = cid;
    address.svm_port = port;
    return address;
}

// SAFETY: sockaddr is the head that every socket address shares (POSIX <sys/socket.h>).
const sockaddr* generic(const abi::SockaddrVm& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

Result<Fd> vsock_socket(int flags) {
    Fd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    if (!fd) {
        return Error::from_errno(errno, "vsock socket");
    }
    return fd;
}

}  // namespace

Result<Fd> listen_vsock(std::uint32_t port) {
    const abi::SockaddrVm address = address_of(abi::kVmaddrCidAny, port);
    Fd fd = TRY(vsock_socket(SOCK_NONBLOCK));
    if (::bind(fd.ref().number(), generic(address), sizeof(address)) != 0 ||
        ::listen(fd.ref().number(), kBacklog) != 0) {
        return Error::from_errno(errno, "listen on vsock port " + std::to_string(port));
    }
    return fd;
}

Result<Fd> connect_host(std::uint32_t port) {
    const abi::SockaddrVm address = address_of(abi::kVmaddrCidHost, port);
    Fd fd = TRY(vsock_socket(0));
    if (::connect(fd.ref().number(), generic(address), sizeof(address)) != 0) {
        return Error::from_errno(errno,
                                 "connect to vsock port " + std::to_string(port) + " of the host");
    }
    return fd;
}

Result<Fd> accept_host(FdRef listener) {
    abi::SockaddrVm peer{};
    socklen_t length = sizeof(peer);
    // SAFETY: as generic(); the kernel writes a SockaddrVm.
    Fd fd(::accept4(listener.number(), reinterpret_cast<sockaddr*>(&peer), &length,
                    SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
        return Error::from_errno(errno, "accept");
    }
    if (peer.svm_cid != abi::kVmaddrCidHost) {
        return Error(Code::PermissionDenied,
                     "a client with CID " + std::to_string(peer.svm_cid) + " is not the host");
    }
    return fd;
}

}  // namespace pepita::runtime::guest
