#pragma once

#include <list>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/channel.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::daemon {

/// Takes the lock file at `path`, which it makes where there is none. Held while the Fd lives.
/// Errors: FailedPrecondition where another process holds it.
Result<Fd> take_lock(const std::string& path);

/// The clients of the daemon's unix socket. Thread: that of `loop`.
class Server {
public:
    static constexpr std::size_t kClientsMax = 64;

    /// Listens at `path`, in place of a socket that nobody listens at any more. `service` outlives
    /// the server.
    /// Errors: AlreadyExists where somebody answers there, or it is no socket.
    static Result<std::unique_ptr<Server>> listen(EventLoop& loop, std::string path,
                                                  api::StorageService& service);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    Server(Server&&) = delete;
    Server& operator=(Server&&) = delete;
    /// The socket's path goes too.
    ~Server();

    /// No new clients from here on; those that are there get their answers.
    void close();

private:
    Server(EventLoop& loop, std::string path, api::StorageService& service)
        : loop_(loop), path_(std::move(path)), service_(service) {}
    void on_client(Fd client);
    Result<void> add(Fd socket);

    EventLoop& loop_;
    std::string path_;
    std::unique_ptr<Listener> listener_;
    api::StorageService& service_;
    std::list<std::shared_ptr<runtime::Channel>> clients_;
};

}  // namespace pepita::storage::daemon
