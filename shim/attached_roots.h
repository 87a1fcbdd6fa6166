#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "runtime/task_api.h"
#include "shim/clock.h"
#include "shim/disk_image.h"
#include "shim/microvm.h"
#include "vmm/device_config.h"

namespace pepita::shim {

/// The disks of containers that come and go while their guest runs: a read-only one of each
/// container's packed root, one of each image that containers have as their root or as a mount, and
/// the pod's one scratch disk for what all of them write. A step that fails undoes those before it.
/// Thread: that of the loop.
class AttachedRoots {
public:
    /// The ways to the machine and to its guest. They answer before this goes, or not at all.
    struct Ways {
        std::move_only_function<void(vmm::DeviceConfig, runtime::OnResult<std::string>)> attach;
        std::move_only_function<void(std::string id, runtime::OnResult<void>)> detach;
        /// The files that an image's disk is, while it is in use by them.
        std::function<Result<std::vector<Fd>>(const runtime::ImageRoot&)> open_image;
        runtime::GuestClient& guest;
    };
    struct Options {
        std::string place;         // the directory where images' bytes live
        bool has_scratch = false;  // the machine was started with that disk
        /// Which image the disk is that the machine was started with for a container; none: no such
        /// disk, or a packed one.
        // NOLINTNEXTLINE(readability-redundant-member-init): may be left out.
        std::optional<runtime::ImageRoot> first_image = {};
    };
    AttachedRoots(EventLoop& loop, Clock& clock, Ways ways, Options options);
    AttachedRoots(const AttachedRoots&) = delete;
    AttachedRoots& operator=(const AttachedRoots&) = delete;
    AttachedRoots(AttachedRoots&&) = delete;
    AttachedRoots& operator=(AttachedRoots&&) = delete;
    ~AttachedRoots() = default;

    /// What is under way when this goes is not answered.
    void add(const RootSource& root, runtime::OnResult<RootDisks> done);

    /// Has the guest let go of the container's own disk, and of those of its images that no other
    /// container has, and detaches them. A disk that the machine was started with stays. Errors:
    /// the guest's or the machine's; then the disk stays, too.
    void remove(const RootDisks& disks, runtime::OnResult<void> done);

private:
    enum class Scratch : std::uint8_t { None, Making, There };
    struct Adding {
        RootSource root;
        std::string serial;                      // of a packed root
        std::vector<runtime::ImageRoot> wanted;  // the last of them is next
        RootDisks disks;                         // it has these
        std::unique_ptr<DiskImage> packing;
        runtime::OnResult<RootDisks> done;
    };
    struct Removing {
        std::string serial;
        int attempts = 0;
        std::unique_ptr<Clock::Deadline> pause;
        runtime::OnResult<void> done;
    };

    /// The disk of an image.
    struct Image {
        /// Attached: the guest has yet to find it.
        enum class State : std::uint8_t { Coming, Attached, There, Leaving };
        State state = State::Coming;
        std::string serial;
        std::size_t users = 0;               // containers that have it
        std::vector<std::uint64_t> waiting;  // that are being added
    };

    void begin_scratch(Bytes size);
    void attach_scratch(Bytes size, Fd image);
    void end_scratch(const Result<void>& made);
    void provide(std::uint64_t number);
    void pack(std::uint64_t number);
    void use_next_image(std::uint64_t number);
    void use_image(std::uint64_t number, const runtime::ImageRoot& id);
    void attach_image(const runtime::ImageRoot& id);
    void look(runtime::OnResult<void> done);
    void find_image(const runtime::ImageRoot& id);
    void give_image(const runtime::ImageRoot& id);
    void refuse_image(const runtime::ImageRoot& id, const Error& why);
    void leave_image(const runtime::ImageRoot& id, runtime::OnResult<void> done);
    void end_image(const runtime::ImageRoot& id, Result<void> removed,
                   runtime::OnResult<void> done);
    void take_image(std::uint64_t number, const runtime::ImageRoot& id, const std::string& serial);
    void take_away(const std::string& serial, runtime::OnResult<void> done);
    void attach(std::uint64_t number, Fd image);
    void rescan(std::uint64_t number);
    void fail_add(std::uint64_t number, Error why);
    void end_add(std::uint64_t number, Result<void> added);
    void remove_all(std::vector<std::string> serials, Result<void> so_far,
                    runtime::OnResult<void> done);
    void remove_disk(const std::string& serial, runtime::OnResult<void> done);
    void release(std::uint64_t number);
    void detach(std::uint64_t number);
    void end_remove(std::uint64_t number, Result<void> removed);

    EventLoop& loop_;
    Clock& clock_;
    Ways ways_;
    std::string place_;
    Scratch scratch_;
    std::unique_ptr<DiskImage> formatting_;
    std::vector<std::uint64_t> waiting_;  // for the scratch disk
    std::uint64_t attached_ = 0;          // how many disks were attached,
    std::uint64_t found_ = 0;             // and how many of them the guest has looked for
    std::map<runtime::ImageRoot, Image> images_;
    std::uint64_t next_ = 1;
    std::map<std::uint64_t, Adding> adding_;
    std::map<std::uint64_t, Removing> removing_;
};

}  // namespace pepita::shim
