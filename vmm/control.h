#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "vmm/device_config.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// What carries the devices of this process: a machine of ours, or front ends elsewhere.
/// Thread: the device loop's.
class DeviceHost {
public:
    DeviceHost() = default;
    DeviceHost(const DeviceHost&) = delete;
    DeviceHost& operator=(const DeviceHost&) = delete;
    DeviceHost(DeviceHost&&) = delete;
    DeviceHost& operator=(DeviceHost&&) = delete;
    virtual ~DeviceHost() = default;

    /// Owns the device from here on. Returns its PCI address, "0000:00:05.0", or "" where it
    /// serves a front end. Errors: AlreadyExists for an id that is in use; what is wrong with the
    /// device.
    virtual Result<std::string> attach(DeviceConfig device) = 0;
    /// The device is destroyed, with all that it had open. Errors: NotFound; FailedPrecondition
    /// while the guest's driver uses it.
    virtual Result<void> detach(std::string_view id) = 0;
    /// Errors: NotFound; InvalidArgument for a device without such a size.
    virtual Result<void> resize(std::string_view id, std::optional<Bytes> size) = 0;
    /// Returns when no vCPU executes the guest. Errors: FailedPrecondition if that is so already;
    /// Unsupported without vCPUs.
    virtual Result<void> pause() = 0;
    virtual Result<void> resume() = 0;
};

/// The control socket of pepita-vmm: one request after the other, each answered by one line.
/// Thread: that of `loop`.
class Control {
public:
    /// `socket` is a connected SOCK_SEQPACKET socket; the peer's end of it is no error. `loop` and
    /// `host` outlive this.
    static Result<std::unique_ptr<Control>> create(EventLoop& loop, Fd socket, DeviceHost& host);
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;
    Control(Control&&) = delete;
    Control& operator=(Control&&) = delete;
    ~Control() = default;

private:
    Control(Fd socket, DeviceHost& host) : socket_(std::move(socket)), host_(host) {}
    void on_readable();
    void serve(std::string_view line, std::vector<Fd> fds);
    void reply(const Result<std::string>& outcome);

    Fd socket_;
    DeviceHost& host_;
    EventLoop::Watch watch_;
};

}  // namespace pepita::vmm
