#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/disk.h"
#include "storage/tag_set.h"
#include "storage/ublk_control.h"

namespace pepita::storage {

/// A disk as /dev/ublkbN: one thread and one ring for each queue.
///
/// Thread: that of the UblkControl, which outlives the server. Calls wait for the kernel.
class UblkServer {
public:
    /// What becomes of the device when its server's process ends without stop().
    enum class Recovery : std::uint8_t {
        None,     // it goes, and what was under way fails
        Reissue,  // it waits for recover(), and what was under way is asked of the new server
    };
    enum class Copy : std::uint8_t {
        /// No copy where the disk is a file and the kernel has kUblkFAutoBufReg (Linux 6.16): bytes
        /// go between its requests and the file's pages. Else ByKernel.
        Never,
        ByKernel,  // between its requests and our buffers
        ByServer,  // by pread and pwrite, where it has kUblkFUserCopy
    };
    enum class Commands : std::uint8_t {
        Each,  // one for each request
        Many,  // for all that came, and all that is done, where it has kUblkFBatchIo (Linux 7.0)
    };
    enum class Owner : std::uint8_t {
        Root,
        /// Whoever starts the server, without privileges, where udev lets them open the devices.
        /// The kernel allows neither Recovery nor Copy::ByServer, makes the copies itself, and
        /// reads no partitions.
        User,
    };
    struct Options {
        std::optional<UblkId> id = std::nullopt;  // else the next that is free
        std::uint16_t queues = 1;   // the kernel gives no more than there are processors
        std::uint16_t depth = 128;  // requests under way at once, in each queue; 1 to 4096
        Bytes request_max{512U << 10U};
        Recovery recovery = Recovery::Reissue;
        Copy copy = Copy::Never;
        Commands commands = Commands::Many;
        Owner owner = Owner::Root;
        std::uint64_t mark = 0;  // by which UblkControl::list() tells whose the device is
    };

    /// Adds a device, serves it and starts it. Where it fails, nothing is left.
    /// Errors: UblkControl's; the disk's; ResourceExhausted where threads cannot be had.
    static Result<std::unique_ptr<UblkServer>> start(UblkControl& control,
                                                     std::shared_ptr<Disk> disk,
                                                     const Options& options);

    /// Takes a device over whose server's process was killed, or has detached: waits for its end.
    /// The disk must hold what that one had acknowledged. Where it is larger than the device, the
    /// kernel is told, or, before Linux 6.16, never uses the rest. Errors: FailedPrecondition where
    /// the device cannot be taken over or is larger than the disk; then it is as it was.
    static Result<std::unique_ptr<UblkServer>> recover(UblkControl& control, UblkId id,
                                                       std::shared_ptr<Disk> disk);

    UblkServer(const UblkServer&) = delete;
    UblkServer& operator=(const UblkServer&) = delete;
    UblkServer(UblkServer&&) = delete;
    UblkServer& operator=(UblkServer&&) = delete;
    /// stop(), and nobody hears how it went.
    ~UblkServer();

    UblkId id() const { return id_; }
    std::uint16_t queues() const { return static_cast<std::uint16_t>(workers_.size()); }

    /// Writes back what the kernel holds, takes the device away and joins the threads. Nothing the
    /// second time. Errors: UblkControl::remove()'s, DeadlineExceeded where somebody has the disk
    /// open after `limit`; the threads are joined nonetheless, and the device goes when they let
    /// go.
    Result<void> stop(std::chrono::nanoseconds limit = UblkControl::kLimit);

    /// Ends serving, though the device stays: requests wait for recover(). Without
    /// Recovery::Reissue the kernel removes the disk.
    void detach();

    /// Tells the kernel that the disk's capacity has changed: the device has it at once, mounted or
    /// not. Errors: Unsupported before Linux 6.16; then the device keeps the size that it has.
    Result<void> resize();

    /// Readable once a queue's thread has ended: somebody else stopped the device.
    FdRef ended() const { return ended_.ref(); }

private:
    class Worker;
    UblkServer(UblkControl& control, UblkId id, std::shared_ptr<Disk> disk);
    Result<void> serve(const abi::UblkDeviceInfo& info);
    void write_back() const;
    void join();

    UblkControl& control_;
    UblkId id_;
    // Shared: the threads of the queues use it, and so does whoever resizes it.
    std::shared_ptr<Disk> disk_;
    Fd ended_;
    Fd device_;
    std::optional<TagSet> tags_;  // of the queues; serve() makes it
    std::vector<std::unique_ptr<Worker>> workers_;
    bool is_served_ = false;
};

/// Puts this process into a mount namespace of its own, without the file systems that lie on ublk
/// devices. Else a server that is killed would, on its way out, drop the last reference to such a
/// file system, and wait for ever for the device that it served itself.
/// Call it before there are threads. Errors: PermissionDenied without CAP_SYS_ADMIN.
Result<void> enter_own_mount_namespace();

}  // namespace pepita::storage
