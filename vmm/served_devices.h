#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "vmm/control.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {

/// The devices of a machine that is elsewhere: each serves the vhost-user front end that its config
/// names. A device is detached after its front end has let go of it, and before that one closes the
/// connection.
/// Thread: that of the loop.
class ServedDevices final : public DeviceHost {
public:
    using OnEnd = std::move_only_function<void(ExitReason)>;

    /// What `around` has outlives this. `on_end` is called on the loop, for each front end that
    /// closes its connection while its device is attached.
    ServedDevices(const DeviceSurroundings& around, OnEnd on_end)
        : around_(around), on_end_(std::move(on_end)) {}

    Result<std::string> attach(DeviceConfig device) override;
    Result<void> detach(std::string_view id) override;
    Result<void> resize(std::string_view id, std::optional<Bytes> size) override;
    Result<void> pause() override;
    Result<void> resume() override;

private:
    struct Served {
        std::string id;
        MadeDevice made;
        std::unique_ptr<Listener> listener;  // until the front end has connected
        std::unique_ptr<virtio::VhostUserTransport> transport;
    };
    Result<void> serve(Served& served, Fd front_end, std::string name);
    void on_client(const std::string& id, std::string name, Fd front_end);
    std::vector<Served>::iterator find(std::string_view id);

    DeviceSurroundings around_;
    OnEnd on_end_;
    std::vector<Served> devices_;
};

}  // namespace pepita::vmm
