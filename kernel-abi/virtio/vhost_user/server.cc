#include "kernel-abi/virtio/vhost_user/server.h"

#include <stdio.h>  // rename
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
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"

namespace pepita::virtio {
namespace {

Error taken(const std::string& path, const std::string& why) {
    return {Code::AlreadyExists, "socket '" + path + "' is taken: " + why};
}

bool is_same(const struct stat& one, const struct stat& other) {
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino &&
           one.st_mtim.tv_sec == other.st_mtim.tv_sec &&
           one.st_mtim.tv_nsec == other.st_mtim.tv_nsec;
}

/// Makes way for a socket at `path`. Of two servers that find the same dead socket, only one can
/// take it away, and none takes away what the other put there since. No lock does that: whoever
/// can open a directory can lock it, for ever.
/// Errors: AlreadyExists where a living one has the name.
Result<void> remove_stale(const std::string& path) {
    struct stat dead{};
    if (::lstat(path.c_str(), &dead) != 0) {
        return errno == ENOENT ? Result<void>() : Error::from_errno(errno, "socket '" + path + "'");
    }
    if (!S_ISSOCK(dead.st_mode)) {
        return Error(Code::AlreadyExists, "'" + path + "' is no socket");
    }
    const Result<Fd> client = connect_unix(path);
    if (client || client.error().sys_errno() != ECONNREFUSED) {
        return taken(path, client ? "somebody listens" : client.error().message());
    }
    const std::string aside = path + "." + std::to_string(::getpid());
    if (::rename(path.c_str(), aside.c_str()) != 0) {
        return errno == ENOENT ? taken(path, "another server is about to listen")
                               : Error::from_errno(errno, "stale socket '" + path + "'");
    }
    struct stat moved{};
    if (::lstat(aside.c_str(), &moved) == 0 && !is_same(moved, dead)) {
        // It was the other's, made between the two looks. Nobody has the name now but a third one.
        (void)::link(aside.c_str(), path.c_str());
        (void)::unlink(aside.c_str());
        return taken(path, "another server began to listen");
    }
    if (::unlink(aside.c_str()) != 0) {
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
    TRY(remove_stale(path));
    Fd listener = TRY(listen_unix(path, options_.mode));
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return Error::from_errno(errno, "socket '" + path + "'");
    }
    file_system_ = status.st_dev;
    inode_ = status.st_ino;
    listener_ =
        TRY(Listener::create(
                loop_, std::move(listener), [this](Fd client) { on_client(std::move(client)); },
                {.accept = nullptr,
                 .on_pause =
                     [this](const Error& why) {
                         log::warn("no front end can be accepted for now",
                                   {{"socket", options_.socket}, {"error", why.message()}});
                     }}),
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

void VhostUserServer::on_client(Fd client) {
    auto transport = VhostUserTransport::create(loop_, std::move(client), device_,
                                                [this](const Error& why) { on_gone(why); },
                                                {.tracks_in_flight = true});
    if (!transport) {
        log::warn("front end dropped",
                  {{"socket", options_.socket}, {"error", transport.error().message()}});
        return;
    }
    transport_ = *std::move(transport);
    listener_->suspend();
}

void VhostUserServer::on_gone(const Error& why) {
    if (why.code() != Code::Unavailable) {
        log::warn("front end dropped", {{"socket", options_.socket}, {"error", why.message()}});
    }
    transport_.reset();
    listener_->resume();
}

}  // namespace pepita::virtio
