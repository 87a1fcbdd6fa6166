#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_fs.h"
#include "kernel-abi/virtio/device.h"
#include "vmm/vhost_user/front_end.h"

namespace pepita::vmm {

/// virtio-fs (virtio 1.3 §5.11) whose queues are served by a vhost-user server: virtiofsd. This
/// process carries notifications between the transport and the server, and touches no request.
///
/// A server that breaks the protocol or the connection leaves a device whose driver is told to
/// reset it. Whoever started the server ends the machine then.
class Fs final : public virtio::Device {
public:
    /// `socket` is connected to the server; `loop` and `memory` outlive the device.
    /// Errors: VhostUserFrontEnd::create()'s; eventfd(2)'s.
    static Result<std::unique_ptr<Fs>> create(EventLoop& loop, Fd socket, const LentMemory& memory,
                                              std::string_view tag);
    Fs(const Fs&) = delete;
    Fs& operator=(const Fs&) = delete;
    Fs(Fs&&) = delete;
    Fs& operator=(Fs&&) = delete;
    ~Fs() override { reset(); }

    virtio::DeviceType type() const override { return virtio::DeviceType::Fs; }
    std::uint64_t features() const override { return 0; }
    std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
    std::span<const std::byte> config() const override {
        return std::as_bytes(std::span(&config_, 1));
    }
    void start(const virtio::Session& session) override;
    Result<std::size_t> start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) override;
    std::uint16_t stop_queue(std::uint16_t queue) override;
    void kick(std::uint16_t queue) override;
    void reset() override;

private:
    // One for requests that must not wait behind others, one for the rest.
    static constexpr std::array<std::uint16_t, 2> kQueueSizes{1024, 1024};

    struct Queue {
        Fd kick;
        Fd call;
        EventLoop::Watch watch;  // of call
        bool is_started = false;
    };

    Fs(VhostUserFrontEnd server, std::string_view tag);
    Result<void> watch(EventLoop& loop, FdRef server);
    void on_call(std::uint16_t queue);
    void lose(const Error& why);

    abi::VirtioFsConfig config_{};
    std::optional<VhostUserFrontEnd> server_;  // while its connection is of use
    EventLoop::Watch server_watch_;
    std::array<Queue, kQueueSizes.size()> queues_;
    virtio::Notifier* notifier_ = nullptr;  // the session's; null outside of one
};

}  // namespace pepita::vmm
