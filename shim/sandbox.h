#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"
#include "shim/disk_image.h"
#include "shim/guest_link.h"
#include "shim/isolation.h"
#include "shim/machine.h"
#include "shim/options.h"
#include "shim/pod_directory.h"

namespace pepita::shim {

/// A microVM from the making of its disks to the end of its last process, with the way to
/// speak to its pepita-init in between. Thread: that of `loop`.
class Sandbox {
public:
    struct Callbacks {
        /// Once: the guest answers, or the reason why it never will. Then on_down follows.
        std::move_only_function<void(Result<void>)> on_up;
        /// Once: no process is left. Not before on_up.
        std::move_only_function<void(const std::string& reason)> on_down;
    };

    struct Disks {
        std::string root_path;         // a directory: what the root disk is made of
        std::optional<Bytes> scratch;  // size of the disk for what is written, or there is none
    };

    static Result<std::unique_ptr<Sandbox>> start(EventLoop& loop, const Options& options,
                                                  const PodDirectory& directory, const Disks& disks,
                                                  const ChosenIsolation& isolation,
                                                  Callbacks callbacks);
    Sandbox(const Sandbox&) = delete;
    Sandbox& operator=(const Sandbox&) = delete;
    Sandbox(Sandbox&&) = delete;
    Sandbox& operator=(Sandbox&&) = delete;
    ~Sandbox();

    /// Between on_up and on_down.
    runtime::GuestClient& guest() { return *guest_; }

    /// Connects the streams that `numbers` names; an Fd that is not open for each 0.
    struct Connected {
        Fd in;
        Fd out;
        Fd err;
    };
    void connect_streams(const runtime::StreamNumbers& numbers, runtime::OnResult<Connected> done);

    /// The process whose death is the guest's; 0 before it is started.
    int machine_pid() const { return machine_ ? machine_->pid() : 0; }

    /// Asks the guest to power off, and ends it where it does not. on_down follows.
    void shut_down();

private:
    Sandbox(EventLoop& loop, const Options& options, const PodDirectory& directory,
            Isolation isolation, Callbacks callbacks);
    Result<void> make_images(const Disks& disks);
    void on_image(Fd& place, const char* doing, Result<Fd> image);
    Result<void> start_machine();
    void on_ready();
    Result<void> on_api(Fd socket);
    void on_link_lost(const Error& error);
    void on_described(const Result<runtime::GuestDescription>& guest);
    void on_machine_end(const MachineEnd& end);
    void give_up(const std::string& reason);

    EventLoop& loop_;
    const Options& options_;
    const PodDirectory& directory_;
    Isolation isolation_;
    Callbacks callbacks_;
    std::unique_ptr<DiskImage> packing_;
    std::unique_ptr<DiskImage> formatting_;  // where there is a scratch disk
    std::optional<Bytes> scratch_size_;
    Fd root_image_;  // once it is made
    Fd scratch_image_;
    std::unique_ptr<ReadyListener> ready_;
    std::unique_ptr<Machine> machine_;
    std::unique_ptr<GuestConnect> api_connect_;
    std::shared_ptr<runtime::Channel> channel_;
    std::unique_ptr<runtime::GuestClient> guest_;
    EventLoop::Timer deadline_;
    bool is_over_ = false;
    std::string blame_;  // why we ended the machine, where we did
};

}  // namespace pepita::shim
