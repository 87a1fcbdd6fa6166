#include "vmm/served_devices.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/listener.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "vmm/device_config.h"
#include "vmm/devices/kind.h"
#include "vmm/machine_config.h"

namespace pepita::vmm {
namespace {

Error no_device(std::string_view id) {
    return {Code::NotFound, "no device '" + std::string(id) + "'"};
}

Error no_machine() { return {Code::Unsupported, "the vCPUs are not in this process"}; }

}  // namespace

std::vector<ServedDevices::Served>::iterator ServedDevices::find(std::string_view id) {
    return std::ranges::find(devices_, id, &Served::id);
}

Result<std::string> ServedDevices::attach(DeviceConfig device) {
    if (!device.front_end) {
        return Error(Code::InvalidArgument, "'vhost-user' is missing, and there is no --machine");
    }
    if (find(device.id) != devices_.end()) {
        return Error(Code::AlreadyExists, name_of(device) + ": the id is used already");
    }
    const std::string name = name_of(device);
    Served served{.id = device.id,
                  .made = TRY(make_device(device, around_)),
                  .listener = {},
                  .transport = {}};
    Fd front_end = std::move(device.front_end->fd);
    Result<Fd> client = accept_client(front_end.ref());
    if (!client && client.error().sys_errno() == EINVAL) {
        TRY(serve(served, std::move(front_end), name));  // it does not listen: it is connected
    } else if (client) {
        TRY(serve(served, *std::move(client), name));
    } else {
        served.listener = TRY(Listener::create(around_.loop, std::move(front_end),
                                               [this, id = device.id, name](Fd fd) {
                                                   on_client(id, name, std::move(fd));
                                               }),
                              name);
    }
    devices_.push_back(std::move(served));
    return std::string();
}

Result<void> ServedDevices::serve(Served& served, Fd front_end, std::string name) {
    auto on_gone = [this, name](const Error& why) {
        if (why.code() != Code::Unavailable) {
            log::error("front end dropped", {{"device", name}, {"error", why.message()}});
            return on_end_(ExitReason::InternalError);
        }
        on_end_(ExitReason::FrontEndGone);
    };
    served.transport =
        TRY(virtio::VhostUserTransport::create(around_.loop, std::move(front_end),
                                               *served.made.device, std::move(on_gone)),
            name);
    return {};
}

void ServedDevices::on_client(const std::string& id, std::string name, Fd front_end) {
    Served& served = *find(id);
    const std::unique_ptr<Listener> gone = std::move(served.listener);  // after this call
    if (const Result<void> done = serve(served, std::move(front_end), std::move(name)); !done) {
        log::error("front end refused", {{"error", done.error().message()}});
        on_end_(ExitReason::InternalError);
    }
}

Result<void> ServedDevices::detach(std::string_view id) {
    const auto found = find(id);
    if (found == devices_.end()) {
        return no_device(id);
    }
    found->transport.reset();  // it resets the device, which must still be there
    devices_.erase(found);
    return {};
}

Result<void> ServedDevices::resize(std::string_view id, std::optional<Bytes> size) {
    const auto found = find(id);
    return found == devices_.end() ? no_device(id) : resize_device(found->made, id, size);
}

Result<void> ServedDevices::pause() { return no_machine(); }

Result<void> ServedDevices::resume() { return no_machine(); }

}  // namespace pepita::vmm
