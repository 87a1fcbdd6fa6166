#include "kernel-abi/virtio/vhost_user/server.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"

namespace pepita::virtio {
namespace {

/// Until a client is tried again that could not be taken (no descriptors left).
constexpr std::chrono::milliseconds kPause{100};

std::string directory_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// Makes way for a socket at `path`. Errors: AlreadyExists where a living one has the name.
Result<void> remove_stale(const std::string& path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT ? Result<void>() : Error::from_errno(errno, "socket '" + path + "'");
    }
    if (!S_ISSOCK(status.st_mode)) {
        return Error(Code::AlreadyExists, "'" + path + "' is no socket");
    }
    const Result<Fd> client = connect_unix(path);
    if (client || client.error().sys_errno() != ECONNREFUSED) {
        return Error(Code::AlreadyExists,
                     "socket '" + path + "' is taken" +
                         (client ? ": somebody listens" : ": " + client.error().message()));
    }
    if (::unlink(path.c_str()) != 0) {
        return Error::from_errno(errno, "stale socket '" + path + "'");
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<VhostUserServer>> VhostUserServer::create(EventLoop& loop, Device& device,
                                                                 Options options) {
    std::unique_ptr<VhostUserServer> server(new VhostUserServer(loop, device, std::move(options)));
    TRY(server->listen());
    return server;
}

Result<void> VhostUserServer::listen() {
    const std::string& path = options_.socket;
    // Of two servers that find the same dead socket, the second shall find the first one's.
    const Fd directory = TRY(open_file(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY));
    if (::flock(directory.ref().number(), LOCK_EX) != 0) {
        return Error::from_errno(errno, "lock directory of '" + path + "'");
    }
    TRY(remove_stale(path));
    listener_ = TRY(listen_unix(path, options_.mode));
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return Error::from_errno(errno, "socket '" + path + "'");
    }
    file_system_ = status.st_dev;
    inode_ = status.st_ino;
    watch_ = TRY(loop_.watch(listener_.ref(), EPOLLIN, [this](std::uint32_t) { on_client(); }),
                 "socket '", path, "'");
    return {};
}

VhostUserServer::~VhostUserServer() {
    transport_.reset();
    struct stat status{};
    if (inode_ != 0 && ::lstat(options_.socket.c_str(), &status) == 0 &&
        status.st_dev == file_system_ && status.st_ino == inode_) {
        (void)::unlink(options_.socket.c_str());
    }
}

void VhostUserServer::on_client() {
    Result<Fd> client = accept_client(listener_.ref());
    if (!client) {
        if (client.error().sys_errno() != EAGAIN && client.error().sys_errno() != ECONNABORTED) {
            log::warn("no front end can be taken for now",
                      {{"socket", options_.socket}, {"error", client.error().message()}});
            watch_.set_events(0);
            pause_ = loop_.after(kPause, [this] { watch_.set_events(EPOLLIN); });
        }
        return;
    }
    auto transport = VhostUserTransport::create(loop_, *std::move(client), device_,
                                                [this](const Error& why) { on_gone(why); },
                                                {.tracks_in_flight = true});
    if (!transport) {
        log::warn("front end dropped",
                  {{"socket", options_.socket}, {"error", transport.error().message()}});
        return;
    }
    transport_ = *std::move(transport);
    watch_.set_events(0);
}

void VhostUserServer::on_gone(const Error& why) {
    if (why.code() != Code::Unavailable) {
        log::warn("front end dropped", {{"socket", options_.socket}, {"error", why.message()}});
    }
    transport_.reset();
    watch_.set_events(EPOLLIN);
}

}  // namespace pepita::virtio
