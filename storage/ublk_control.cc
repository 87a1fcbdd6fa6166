#include "storage/ublk_control.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"

// Commands of a device that an unprivileged user made begin with the path of its node, which is how
// the kernel asks the file system for permission; those of other devices must not. GET_DEV_INFO
// without a path tells which it is: EINVAL for the former (Linux drivers/block/ublk_drv.c).

namespace pepita::storage {
namespace {

constexpr std::uint64_t kCommandTag = 1;
constexpr std::uint64_t kLimitTag = 2;
constexpr std::uint64_t kPauseTag = 3;
constexpr std::chrono::milliseconds kPause{2};
constexpr std::chrono::seconds kNodeLimit{10};
constexpr std::size_t kProcessorsMax = 8192;  // CONFIG_NR_CPUS is no larger anywhere
constexpr const char* kClassPath = "/sys/class/ublk-char";

template <typename Object>
std::span<std::byte> bytes_of(Object& object) {
    return std::as_writable_bytes(std::span(&object, 1));
}

std::string name_of(UblkId id) { return std::to_string(static_cast<std::uint32_t>(id)); }

Error open_error(int sys_errno, const std::string& path) {
    const std::string open = "open '" + path + "'";
    if (sys_errno == ENOENT || sys_errno == ENXIO) {
        return Error::from_errno(
            sys_errno, open + " (this kernel has no ublk, or its module ublk_drv is not loaded)");
    }
    return Error::from_errno(sys_errno, open);
}

}  // namespace

struct UblkControl::Call {
    const char* name;
    abi::UblkControlCommand command;
    std::uint32_t device = abi::kUblkAnyDevice;
    std::uint64_t data = 0;
    // NOLINTNEXTLINE(readability-redundant-member-init): g++ wants it of designated initialisers
    std::span<std::byte> buffer = {};  // both ways
    std::chrono::nanoseconds limit = kLimit;
    // NOLINTNEXTLINE(readability-redundant-member-init): as above
    std::string path = {};  // where the kernel wants to see it
};

std::string ublk_block_path(UblkId id) { return "/dev/ublkb" + name_of(id); }
std::string ublk_char_path(UblkId id) { return "/dev/ublkc" + name_of(id); }

Result<UblkControl> UblkControl::open(const std::string& path) {
    Fd device(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!device) {
        return open_error(errno, path);
    }
    IoRing ring = TRY(IoRing::create({.entries = 4, .entry_size = IoRing::EntrySize::Bytes128}));
    UblkControl control(std::move(device), std::move(ring));
    Result<std::int32_t> known = control.execute({.name = "GET_FEATURES",
                                                  .command = abi::UblkControlCommand::GetFeatures,
                                                  .buffer = bytes_of(control.features_)});
    if (!known.has_value() && known.error().code() != Code::Unsupported) {
        return std::move(known.error()).within("'" + path + "'");
    }
    return control;
}

/// The kernel's answer: what it gave, 0 or more.
Result<std::int32_t> UblkControl::execute(const Call& call) {
    std::vector<std::byte> with_path;
    std::span<std::byte> buffer = call.buffer;
    if (!call.path.empty()) {
        const std::size_t length = call.path.size() + 1;
        with_path.resize(length + buffer.size());
        std::memcpy(with_path.data(), call.path.c_str(), length);
        std::ranges::copy(buffer, with_path.begin() + static_cast<std::ptrdiff_t>(length));
        buffer = with_path;
    }
    abi::UblkControlRequest request{};
    request.dev_id = call.device;
    request.queue_id = abi::kUblkNoQueue;  // GET_QUEUE_AFFINITY too takes its queue from `data`
    request.data = call.data;
    request.len = static_cast<std::uint16_t>(buffer.size());
    request.addr = reinterpret_cast<std::uintptr_t>(buffer.data());
    request.dev_path_len = static_cast<std::uint16_t>(call.path.empty() ? 0 : call.path.size() + 1);
    CHECK(ring_.command(device_.ref(), static_cast<std::uint32_t>(call.command), bytes_of(request),
                        kCommandTag));
    CHECK(ring_.limit_previous(call.limit, kLimitTag));
    std::int32_t result = 0;
    while (ring_.under_way() > 0) {
        TRY(ring_.wait());
        ring_.reap([&](const IoRing::Completion& done) {
            result = done.tag == kCommandTag ? done.result : result;
        });
    }
    if (result == -ECANCELED || result == -EINTR || result == -ETIME) {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(call.limit);
        return Error(Code::DeadlineExceeded, std::string(call.name) + ": not done within " +
                                                 std::to_string(seconds.count()) + " s");
    }
    if (result < 0) {
        return Error::from_errno(-result, call.name);
    }
    std::ranges::copy(buffer.subspan(buffer.size() - call.buffer.size()), call.buffer.begin());
    return result;
}

Result<bool> UblkControl::wants_path(UblkId id) {
    abi::UblkDeviceInfo info{};
    Result<std::int32_t> got = execute({.name = "GET_DEV_INFO",
                                        .command = abi::UblkControlCommand::GetDevInfo,
                                        .device = static_cast<std::uint32_t>(id),
                                        .buffer = bytes_of(info)});
    if (got.has_value()) {
        return false;
    }
    if (got.error().sys_errno() == EINVAL) {  // there was no path
        return true;
    }
    return std::move(got.error());
}

Result<void> UblkControl::call_for(UblkId id, Call call) {
    call.device = static_cast<std::uint32_t>(id);
    if (TRY(wants_path(id), "ublk device ", name_of(id))) {
        call.path = ublk_char_path(id);
    }
    (void)TRY(execute(call), "ublk device ", name_of(id));
    return {};
}

Result<abi::UblkDeviceInfo> UblkControl::add(const UblkLayout& layout) {
    if (layout.queues == 0 || layout.queues > abi::kUblkQueuesMax) {
        return Error(Code::InvalidArgument, "ublk device of " + std::to_string(layout.queues) +
                                                " queues: 1 to " +
                                                std::to_string(abi::kUblkQueuesMax));
    }
    if (layout.depth == 0 || layout.depth > abi::kUblkQueueDepthMax) {
        return Error(Code::InvalidArgument, "ublk device with queues " +
                                                std::to_string(layout.depth) + " deep: 1 to " +
                                                std::to_string(abi::kUblkQueueDepthMax));
    }
    constexpr std::uint64_t request_limit = 1ULL << abi::kUblkDataBits;
    if (layout.request_max < kPageSize || layout.request_max.value() > request_limit) {
        return Error(Code::InvalidArgument, "ublk device with requests of " +
                                                std::to_string(layout.request_max.value()) +
                                                " bytes: 4096 to " + std::to_string(request_limit));
    }
    const std::uint64_t missing = layout.features & ~features_;
    if (features_ != 0 && missing != 0) {
        return Error(Code::Unsupported, "this kernel's ublk lacks feature bit " +
                                            std::to_string(std::countr_zero(missing)) +
                                            " (Linux ublk_cmd.h)");
    }
    const std::uint32_t id =
        layout.id ? static_cast<std::uint32_t>(*layout.id) : abi::kUblkAnyDevice;
    abi::UblkDeviceInfo info{};
    info.nr_hw_queues = layout.queues;
    info.queue_depth = layout.depth;
    info.max_io_buf_bytes = static_cast<std::uint32_t>(layout.request_max.value());
    info.dev_id = id;
    info.flags = layout.features;
    info.ublksrv_flags = layout.mark;
    (void)TRY(execute({.name = "ADD_DEV",
                       .command = abi::UblkControlCommand::AddDev,
                       .device = id,
                       .buffer = bytes_of(info)}),
              "ublk device", layout.id ? " " + name_of(*layout.id) : std::string());
    return info;
}

Result<void> UblkControl::set_parameters(UblkId id, const abi::UblkParams& parameters) {
    abi::UblkParams copy = parameters;
    return call_for(id, {.name = "SET_PARAMS",
                         .command = abi::UblkControlCommand::SetParams,
                         .buffer = bytes_of(copy)});
}

Result<abi::UblkParams> UblkControl::parameters(UblkId id) {
    abi::UblkParams parameters{};
    parameters.len = sizeof(parameters);
    TRY(call_for(id, {.name = "GET_PARAMS",
                      .command = abi::UblkControlCommand::GetParams,
                      .buffer = bytes_of(parameters)}));
    return parameters;
}

Result<abi::UblkDeviceInfo> UblkControl::info(UblkId id) {
    abi::UblkDeviceInfo info{};
    TRY(call_for(id, {.name = "GET_DEV_INFO",
                      .command = abi::UblkControlCommand::GetDevInfo,
                      .buffer = bytes_of(info)}));
    return info;
}

Result<std::vector<std::uint32_t>> UblkControl::queue_processors(UblkId id, std::uint16_t queue) {
    std::array<std::byte, kProcessorsMax / CHAR_BIT> mask{};
    TRY(call_for(id, {.name = "GET_QUEUE_AFFINITY",
                      .command = abi::UblkControlCommand::GetQueueAffinity,
                      .data = queue,
                      .buffer = mask}));
    std::vector<std::uint32_t> processors;
    for (std::uint32_t i = 0; i < kProcessorsMax; ++i) {
        if ((mask[i / CHAR_BIT] & std::byte{1} << i % CHAR_BIT) != std::byte{0}) {
            processors.push_back(i);
        }
    }
    return processors;
}

Result<void> UblkControl::start(UblkId id) {
    return call_for(id, {.name = "START_DEV",
                         .command = abi::UblkControlCommand::StartDev,
                         .data = static_cast<std::uint64_t>(::getpid())});
}

Result<void> UblkControl::stop(UblkId id) {
    return call_for(id, {.name = "STOP_DEV", .command = abi::UblkControlCommand::StopDev});
}

Result<void> UblkControl::remove(UblkId id, std::chrono::nanoseconds limit) {
    return call_for(
        id, {.name = "DEL_DEV", .command = abi::UblkControlCommand::DelDev, .limit = limit});
}

Result<void> UblkControl::start_recovery(UblkId id, std::chrono::nanoseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        Result<void> started = call_for(
            id,
            {.name = "START_USER_RECOVERY", .command = abi::UblkControlCommand::StartUserRecovery});
        if (started.has_value()) {
            return {};
        }
        if (started.error().sys_errno() == EINVAL) {
            return Error(Code::FailedPrecondition,
                         "ublk device " + name_of(id) + " is not recoverable");
        }
        // The kernel notices the old server's end in its own time, and has no way to tell us when.
        if (started.error().sys_errno() != EBUSY || std::chrono::steady_clock::now() >= deadline) {
            return started;
        }
        TRY(pause());
    }
}

Result<void> UblkControl::end_recovery(UblkId id) {
    return call_for(id, {.name = "END_USER_RECOVERY",
                         .command = abi::UblkControlCommand::EndUserRecovery,
                         .data = static_cast<std::uint64_t>(::getpid())});
}

Result<void> UblkControl::resize(UblkId id, Sectors capacity) {
    if ((features_ & abi::kUblkFUpdateSize) == 0) {
        return Error(Code::Unsupported,
                     "ublk device " + name_of(id) + ": this kernel cannot resize (Linux 6.16 can)");
    }
    return call_for(id, {.name = "UPDATE_SIZE",
                         .command = abi::UblkControlCommand::UpdateSize,
                         .data = capacity.value()});
}

Result<std::vector<abi::UblkDeviceInfo>> UblkControl::list() {
    std::vector<std::uint32_t> ids;
    std::error_code error;
    for (std::filesystem::directory_iterator at(kClassPath, error), end; !error && at != end;
         at.increment(error)) {
        const std::string name = at->path().filename().string();
        constexpr std::string_view prefix = "ublkc";
        std::uint32_t id = 0;
        if (name.starts_with(prefix) &&
            std::from_chars(name.data() + prefix.size(), name.data() + name.size(), id).ec ==
                std::errc()) {
            ids.push_back(id);
        }
    }
    std::ranges::sort(ids);
    std::vector<abi::UblkDeviceInfo> devices;
    for (const std::uint32_t id : ids) {
        Result<abi::UblkDeviceInfo> device = info(UblkId(id));
        if (device.has_value()) {
            devices.push_back(*device);
        } else if (device.error().code() != Code::NotFound) {  // it may have gone meanwhile
            return std::move(device.error());
        }
    }
    return devices;
}

Result<Fd> UblkControl::open_device(UblkId id) {
    const auto deadline = std::chrono::steady_clock::now() + kNodeLimit;
    for (;;) {
        Result<Fd> device = open_file(ublk_char_path(id).c_str(), O_RDWR);
        const bool may_come = !device.has_value() && (device.error().sys_errno() == ENOENT ||
                                                      device.error().sys_errno() == EACCES);
        if (!may_come || std::chrono::steady_clock::now() >= deadline) {
            return device;
        }
        TRY(pause());
    }
}

Result<void> UblkControl::pause() {
    CHECK(ring_.timeout(kPause, kPauseTag));
    TRY(ring_.wait());
    ring_.reap([](const IoRing::Completion&) {});
    return {};
}

}  // namespace pepita::storage
