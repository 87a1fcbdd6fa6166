#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "storage/disk.h"

namespace pepita::storage {

/// A disk served as vhost-user-blk to whoever connects to a unix socket (QEMU, Cloud Hypervisor),
/// one front end after the other, by a thread of its own.
///
/// A front end that keeps the books of what is in flight (QEMU's vhost-user-blk-pci with
/// reconnect=) loses nothing when this process is killed: the next server of the same disk at the
/// same socket goes on where this one was.
///
/// Who runs this ignores SIGPIPE. Thread: any, one at a time.
class VhostUserBlock {
public:
    struct Options {
        std::string socket;  // its path
        mode_t mode = 0600;
        std::string serial;  // as VirtioBlock has it
        std::uint16_t queues = 1;
    };

    /// Once this returns, front ends may connect.
    /// Errors: AlreadyExists where a living server has the socket (a dead one's is replaced);
    /// InvalidArgument for the path, the serial or the number of queues; the disk's.
    static Result<std::unique_ptr<VhostUserBlock>> start(std::shared_ptr<storage::Disk> disk,
                                                         Options options);
    VhostUserBlock(const VhostUserBlock&) = delete;
    VhostUserBlock& operator=(const VhostUserBlock&) = delete;
    VhostUserBlock(VhostUserBlock&&) = delete;
    VhostUserBlock& operator=(VhostUserBlock&&) = delete;
    ~VhostUserBlock();

    /// The disk's capacity changed: the guest is told, where there is one.
    void capacity_changed();

    /// Waits for what is in flight, drops the front end, joins the thread, removes the socket.
    /// Nothing where that was done before.
    void stop();

private:
    struct Served;

    VhostUserBlock(std::unique_ptr<EventLoop> loop, std::shared_ptr<storage::Disk> disk,
                   Options options);
    Result<void> set_up();

    Options options_;
    std::shared_ptr<storage::Disk> disk_;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<Served> served_;  // the thread's
    Thread thread_;
};

}  // namespace pepita::storage
