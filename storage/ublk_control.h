#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"

namespace pepita::storage {

/// The N of /dev/ublkcN and /dev/ublkbN.
enum class UblkId : std::uint32_t {};

/// What a device is to be; what the kernel makes of it, add() gives.
struct UblkLayout {
    std::optional<UblkId> id = std::nullopt;  // else the next that is free
    std::uint16_t queues = 1;                 // the kernel gives no more than there are processors
    std::uint16_t depth = 128;                // requests under way at once, in each queue
    Bytes request_max{512U << 10U};
    std::uint64_t features = 0;  // abi::kUblkF…
    std::uint64_t mark = 0;      // what info() and list() give as ublksrv_flags: the server's own
};

/// /dev/ublk-control: makes, starts, stops and removes ublk devices, whoever serves them.
///
/// Each call waits for the kernel, `limit` at the most. Errors, beside those named:
/// DeadlineExceeded after that; NotFound (ENODEV) where there is no such device; PermissionDenied
/// where it is not ours to command. All name the device and the command.
///
/// Thread: the one that opened it.
class UblkControl {
public:
    static constexpr const char* kPath = "/dev/ublk-control";
    /// Far beyond what the kernel needs.
    static constexpr std::chrono::seconds kLimit{60};

    /// Errors: NotFound where this kernel has no ublk or its module is not loaded;
    /// PermissionDenied; IoRing::create()'s.
    static Result<UblkControl> open(const std::string& path = kPath);

    /// abi::kUblkF… that this kernel has; 0 before Linux 6.5, which cannot say.
    std::uint64_t features() const { return features_; }

    /// A device that has /dev/ublkcN and no disk yet. Errors: InvalidArgument for no queues, no
    /// depth or more than the kernel takes; Unsupported for features that it has not;
    /// AlreadyExists for an id that is taken.
    Result<abi::UblkDeviceInfo> add(const UblkLayout& layout);

    Result<void> set_parameters(UblkId id, const abi::UblkParams& parameters);
    Result<abi::UblkParams> parameters(UblkId id);
    Result<abi::UblkDeviceInfo> info(UblkId id);
    /// The processors whose requests come to that queue.
    Result<std::vector<std::uint32_t>> queue_processors(UblkId id, std::uint16_t queue);

    /// Makes /dev/ublkbN once all requests of all queues have been fetched; partitions are read
    /// before this returns, so the queues are served by other threads.
    Result<void> start(UblkId id);
    /// Takes /dev/ublkbN away and has all fetches come back. What is in flight is served first;
    /// what the kernel had not written back yet is lost where the device is recoverable.
    Result<void> stop(UblkId id);
    /// stop(), and /dev/ublkcN goes too, once nobody has any of it open. DeadlineExceeded where
    /// somebody still has: it goes when they let go.
    Result<void> remove(UblkId id, std::chrono::nanoseconds limit = kLimit);

    /// Between the two, new queues fetch. Waits for the old server's end. Errors:
    /// FailedPrecondition for a device that is not recoverable, or whose last recovery did not come
    /// to its end; Unavailable where its server lives.
    Result<void> start_recovery(UblkId id, std::chrono::nanoseconds limit = kLimit);
    Result<void> end_recovery(UblkId id);

    /// Errors: Unsupported before Linux 6.16.
    Result<void> resize(UblkId id, Sectors capacity);

    /// All devices of this machine, ours or not, in the order of their ids.
    Result<std::vector<abi::UblkDeviceInfo>> list();

    /// Opens /dev/ublkcN, which udev makes and may hand to a user: waits for that.
    Result<Fd> open_device(UblkId id);

private:
    struct Call;
    UblkControl(Fd device, IoRing ring) : device_(std::move(device)), ring_(std::move(ring)) {}
    Result<void> call_for(UblkId id, Call call);
    Result<std::int32_t> execute(const Call& call);
    Result<bool> wants_path(UblkId id);
    Result<void> pause();

    Fd device_;
    IoRing ring_;
    std::uint64_t features_ = 0;
};

/// "/dev/ublkb3".
std::string ublk_block_path(UblkId id);
/// "/dev/ublkc3".
std::string ublk_char_path(UblkId id);

}  // namespace pepita::storage
