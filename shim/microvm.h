#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/pod_spec.h"
#include "runtime/task_api.h"
#include "shim/host_files.h"
#include "shim/isolation.h"
#include "shim/pod_directory.h"

namespace pepita::shim {

/// What a container's root file system is made of, and what else of the host it gets.
struct RootSource {
    std::string path;  // a directory of the host
    /// The root is a disk with that content; else the directory itself is shared, and written to.
    bool is_packed = false;
    std::optional<runtime::ImageRoot> image;  // the root is that image's disk, not the directory
    // NOLINTNEXTLINE(readability-redundant-member-init): may be left out.
    std::vector<runtime::ImageRoot> volumes = {};  // images that it has as mounts, each once
    std::optional<Bytes> scratch;    // size of the disk for what is written; nullopt: no such disk
    std::string container;           // its directory in the pod's shared tree
    std::vector<SharedPath> shared;  // what is in that directory; none: there is none

    bool is_disk() const { return is_packed || image.has_value(); }
};

/// How the guest finds all that.
struct RootDisks {
    // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
    std::string root_serial = {};                     // empty: the root is in the tree
    std::map<std::string, std::string> volumes = {};  // serials by the image's id
    std::string scratch_serial = {};                  // empty: no such disk
    std::string tree = {};  // the container's directory in the shared tree; empty: none
    // NOLINTEND(readability-redundant-member-init)
};

/// A container's own: its root, if that is no disk, and its bind mounts.
std::vector<SharedPath> shared_paths(const runtime::Bundle& bundle, bool is_disk);

/// What of an image a mount is; nullopt: none.
std::optional<runtime::ImagePath> image_of(const runtime::MountSpec& mount);

/// The same as the guest is told.
void place_root(runtime::ContainerSpec& container, const RootDisks& disks);

/// A microVM from the making of its disks to the end of its last process, with the way to speak to
/// its pepita-init in between. Its owner keeps the deadlines. Thread: that of its loop.
class Microvm {
public:
    struct Callbacks {
        /// Once: the machine's processes run.
        std::move_only_function<void()> on_boot;
        /// Once, after on_boot: the guest answers.
        std::move_only_function<void()> on_up;
        /// Once, at any time: no process is left. Destroys the Microvm later, not in the call.
        std::move_only_function<void(const std::string& reason)> on_down;
    };

    Microvm() = default;
    Microvm(const Microvm&) = delete;
    Microvm& operator=(const Microvm&) = delete;
    Microvm(Microvm&&) = delete;
    Microvm& operator=(Microvm&&) = delete;
    virtual ~Microvm() = default;

    /// Between on_up and on_down.
    virtual runtime::GuestClient& guest() = 0;

    /// Connects the streams that `numbers` names; an Fd that is not open for each 0.
    struct Connected {
        Fd in;
        Fd out;
        Fd err;
    };
    virtual void connect_streams(const runtime::StreamNumbers& numbers,
                                 runtime::OnResult<Connected> done) = 0;

    /// Attaches the disks and files of one more container. After on_up.
    virtual void add_root(const RootSource& root, runtime::OnResult<RootDisks> done) = 0;

    /// Detaches what add_root() attached for a container that the guest has deleted. Disks that the
    /// machine was started with stay. Errors: why a disk stays, too.
    virtual void remove_root(const RootDisks& disks, runtime::OnResult<void> done) = 0;

    /// Completes what the guest is told of a container, with what it has from add_root().
    virtual void place(runtime::Bundle& bundle, const RootDisks& disks) {
        place_root(bundle.container, disks);
    }

    /// All processes of a container, where they are the host's.
    virtual std::optional<std::vector<std::uint32_t>> pids(const std::string& /*container*/) const {
        return std::nullopt;
    }

    /// The process whose death is the guest's; 0 before it is started.
    virtual int pid() const = 0;

    /// Asks the guest to power off; one that is not up yet is killed. on_down follows when the
    /// guest does.
    virtual void shut_down() = 0;

    /// Ends it now. on_down follows with this reason.
    virtual void kill(const std::string& reason) = 0;
};

/// What a microVM is made from. The references live as long as the microVM.
struct MicrovmConfig {
    const runtime::PodSpec& spec;
    const PodDirectory& directory;
    Isolation isolation;
    std::string network;             // path of the pod's network namespace; "": it has none
    std::optional<RootSource> root;  // of the container that the pod begins with, if any
};

/// Those of MicrovmConfig::root.
RootDisks first_root_disks(const RootSource& root);

Result<std::unique_ptr<Microvm>> start_microvm(EventLoop& loop, const MicrovmConfig& config,
                                               Microvm::Callbacks callbacks);

}  // namespace pepita::shim
