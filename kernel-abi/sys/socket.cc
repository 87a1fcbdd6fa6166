#include "kernel-abi/sys/socket.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

constexpr std::size_t kFdsMax = 253;  // of the kernel: SCM_MAX_FD
constexpr int kBacklog = 1024;        // at most: the kernel has net.core.somaxconn

std::string quoted(std::string_view doing, std::string_view path) {
    return std::string(doing) + " '" + std::string(path) + "'";
}

Result<sockaddr_un> address_of(std::string_view path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path)) {
        return Error(Code::InvalidArgument, quoted("socket path", path) + " must have 1 to " +
                                                std::to_string(sizeof(address.sun_path) - 1) +
                                                " bytes");
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

// SAFETY: sockaddr is the head that every socket address shares (POSIX <sys/socket.h>).
const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

Result<Fd> unix_socket(int flags) {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
    if (!fd) {
        return Error::from_errno(errno, "socket");
    }
    return fd;
}

Result<void> bind_unix(FdRef fd, std::string_view path) {
    const sockaddr_un address = TRY(address_of(path));
    if (::bind(fd.number(), generic(address), sizeof(address)) != 0) {
        // bind(2) says EADDRINUSE where a file has the name: to a caller the name is taken.
        return Error::from_errno(errno == EADDRINUSE ? EEXIST : errno, quoted("bind", path));
    }
    return {};
}

Result<void> listen_on(FdRef fd, std::string_view path) {
    if (::listen(fd.number(), kBacklog) != 0) {
        return Error::from_errno(errno, quoted("listen", path));
    }
    return {};
}

// bind(2) and connect(2) have no *at() form, and a socket path holds 107 bytes.
std::string path_at(FdRef directory, std::string_view name) {
    return "/proc/self/fd/" + std::to_string(directory.number()) + "/" + std::string(name);
}

}  // namespace

Result<Fd> listen_unix(std::string_view path) {
    Fd fd = TRY(unix_socket(SOCK_NONBLOCK));
    TRY(bind_unix(fd.ref(), path));
    TRY(listen_on(fd.ref(), path));
    return fd;
}

Result<Fd> listen_unix(std::string_view path, mode_t mode) {
    Fd fd = TRY(unix_socket(SOCK_NONBLOCK));
    // The file gets the socket's mode, cut by the umask; what was cut off comes back below.
    if (::fchmod(fd.ref().number(), mode) != 0) {
        return Error::from_errno(errno, quoted("fchmod", path));
    }
    TRY(bind_unix(fd.ref(), path));
    const std::string file(path);
    if (::chmod(file.c_str(), mode) != 0) {
        const int failed = errno;
        (void)::unlink(file.c_str());
        return Error::from_errno(failed, quoted("chmod", path));
    }
    TRY(listen_on(fd.ref(), path));
    return fd;
}

Result<Fd> connect_unix(std::string_view path) {
    const sockaddr_un address = TRY(address_of(path));
    Fd fd = TRY(unix_socket(SOCK_NONBLOCK));
    if (::connect(fd.ref().number(), generic(address), sizeof(address)) != 0) {
        return Error::from_errno(errno, quoted("connect", path));
    }
    return fd;
}

Result<Fd> listen_unix_at(FdRef directory, std::string_view name) {
    return listen_unix(path_at(directory, name));
}

Result<Fd> connect_unix_at(FdRef directory, std::string_view name) {
    // Who may write to the directory may put a link in the socket's place at any time: what was
    // looked at is held, and connected to.
    const std::string path(name);
    const open_how how{.flags = O_PATH | O_CLOEXEC,
                       .mode = 0,
                       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    const Fd place(static_cast<int>(
        ::syscall(SYS_openat2, directory.number(), path.c_str(), &how, sizeof(how))));
    struct stat status{};
    if (!place || ::fstat(place.ref().number(), &status) != 0) {
        return Error::from_errno(errno, quoted("connect", name));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return Error(Code::InvalidArgument, quoted("connect", name) + ": it is no socket");
    }
    auto connected = connect_unix("/proc/self/fd/" + std::to_string(place.ref().number()));
    return connected ? std::move(connected)
                     : Error::from_errno(connected.error().sys_errno(), quoted("connect", name));
}

Result<Fd> accept_client(FdRef listener) {
    Fd fd(::accept4(listener.number(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
        return Error::from_errno(errno, "accept");
    }
    return fd;
}

namespace {

Result<std::pair<Fd, Fd>> pair_of(int type) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
        return Error::from_errno(errno, "socketpair");
    }
    return std::pair(Fd(ends[0]), Fd(ends[1]));
}

}  // namespace

Result<std::pair<Fd, Fd>> socket_pair() { return pair_of(SOCK_STREAM); }

Result<std::pair<Fd, Fd>> message_socket_pair() { return pair_of(SOCK_SEQPACKET); }

Result<std::size_t> send_some(FdRef socket, std::span<const std::byte> bytes,
                              std::span<const FdRef> fds) {
    CHECK(fds.size() <= kFdsMax);
    // sendmsg(2) only reads. NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast)
    iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        for (std::size_t i = 0; i < fds.size(); ++i) {
            const int number = fds[i].number();
            std::memcpy(CMSG_DATA(header) + (i * sizeof(int)), &number, sizeof(int));
        }
    }
    const ssize_t sent = ::sendmsg(socket.number(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        return Error::from_errno(errno, "send");
    }
    return static_cast<std::size_t>(sent);
}

Result<Received> receive_some(FdRef socket, std::span<std::byte> into) {
    iovec part{.iov_base = into.data(), .iov_len = into.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(kFdsMax * sizeof(int))> control{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = ::recvmsg(socket.number(), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0) {
        return Error::from_errno(errno, "receive");
    }
    Received received{.size = static_cast<std::size_t>(got), .fds = {}};
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int number = -1;
            std::memcpy(&number, CMSG_DATA(header) + (i * sizeof(int)), sizeof(int));
            received.fds.emplace_back(number);
        }
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
        return Error(Code::DataLoss, "more descriptors came with a message than it may carry");
    }
    return received;
}

}  // namespace pepita
