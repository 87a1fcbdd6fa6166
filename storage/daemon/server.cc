#include "storage/daemon/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
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
#include "runtime/rpc/channel.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::daemon {
namespace {

constexpr mode_t kPrivate = 0600;

/// Makes room for our socket where a daemon that is gone has left its own.
Result<void> remove_stale(const std::string& path) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) {
        return {};
    }
    if (!S_ISSOCK(found.st_mode)) {
        return Error(Code::AlreadyExists, "'" + path + "' is no socket");
    }
    const Result<Fd> answered = connect_unix(path);
    if (answered || answered.error().sys_errno() != ECONNREFUSED) {
        return Error(Code::AlreadyExists, "another process listens at '" + path + "'");
    }
    if (::unlink(path.c_str()) != 0) {
        return Error::from_errno(errno, "remove stale socket '" + path + "'");
    }
    return {};
}

}  // namespace

Result<Fd> take_lock(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, kPrivate));
    if (!file) {
        return Error::from_errno(errno, "open '" + path + "'");
    }
    if (::flock(file.ref().number(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return Error(Code::FailedPrecondition, "another daemon holds '" + path + "'");
        }
        return Error::from_errno(errno, "lock '" + path + "'");
    }
    return file;
}

Result<std::unique_ptr<Server>> Server::listen(EventLoop& loop, std::string path,
                                               api::StorageService& service) {
    TRY(remove_stale(path));
    Fd listener = TRY(listen_unix(path));
    std::unique_ptr<Server> server(new Server(loop, std::move(path), service));
    if (::chmod(server->path_.c_str(), kPrivate) != 0) {
        return Error::from_errno(errno, "chmod '" + server->path_ + "'");
    }
    Server* const self = server.get();
    server->listener_ = TRY(Listener::create(
        loop, std::move(listener), [self](Fd client) { self->on_client(std::move(client)); }));
    return server;
}

Server::~Server() { close(); }

void Server::close() {
    if (listener_) {
        (void)::unlink(path_.c_str());  // a path that is gone is what we want
        listener_.reset();
    }
}

void Server::on_client(Fd client) {
    if (clients_.size() == kClientsMax) {
        log::warn("a client was turned away, there are too many", {{"clients", clients_.size()}});
        return;
    }
    if (const Result<void> added = add(std::move(client)); !added) {
        log::warn("a client was turned away", {{"error", added.error().message()}});
    }
}

Result<void> Server::add(Fd socket) {
    const auto place = clients_.emplace(clients_.end());
    auto channel = runtime::Channel::create(
        loop_, std::move(socket),
        {.on_call = [this](runtime::Channel::Call call) { dispatch(service_, std::move(call)); },
         .on_closed = [this, place](const Error& /*why*/) { clients_.erase(place); }});
    if (!channel) {
        clients_.erase(place);
        return std::move(channel).error();
    }
    *place = *std::move(channel);
    return {};
}

}  // namespace pepita::storage::daemon
