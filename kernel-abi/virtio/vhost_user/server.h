#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"

namespace pepita::virtio {

/// A unix socket on which one front end after the other has a device. A second one waits in the
/// socket's backlog until the first is gone.
/// Thread: the loop's.
class VhostUserServer {
public:
    struct Options {
        std::string socket;  // its path
        mode_t mode = 0600;
    };

    /// A socket that a dead server left at the path is replaced. `loop` and `device` outlive this.
    /// Errors: AlreadyExists where somebody listens there, or something else has the name;
    /// NotFound, PermissionDenied for its directory; InvalidArgument for a path over 107 bytes.
    static Result<std::unique_ptr<VhostUserServer>> create(EventLoop& loop, Device& device,
                                                           Options options);
    VhostUserServer(const VhostUserServer&) = delete;
    VhostUserServer& operator=(const VhostUserServer&) = delete;
    VhostUserServer(VhostUserServer&&) = delete;
    VhostUserServer& operator=(VhostUserServer&&) = delete;
    /// Ends the session, and removes the socket if it still is ours.
    ~VhostUserServer();

private:
    VhostUserServer(EventLoop& loop, Device& device, Options options)
        : loop_(loop), device_(device), options_(std::move(options)) {}
    Result<void> listen();
    void on_client(Fd client);
    void on_gone(const Error& why);

    EventLoop& loop_;
    Device& device_;
    Options options_;
    dev_t file_system_ = 0;  // of the socket, and its inode
    ino_t inode_ = 0;
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<VhostUserTransport> transport_;
};

}  // namespace pepita::virtio
