#include "test/support/carrier.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "test/support/driver.h"
#include "test/support/pci_driver.h"
#include "test/support/vhost_user_front.h"
#include "vmm/bus/address_map.h"
#include "vmm/bus/pci_host.h"
#include "vmm/bus/virtio_pci.h"

namespace pepita::test {
namespace {

using enum abi::VhostUserRequest;

class PciCarrier final : public Carrier {
public:
    explicit PciCarrier(const Carried& carried) : loop_(carried.loop) {
        CHECK(mmio_.add(kEcam, 0x10'0000, host_.ecam()).has_value());
        auto transport = vmm::PciTransport::create(carried.device, {.loop = loop_,
                                                                    .memory = carried.ram.memory(),
                                                                    .messages = messages_,
                                                                    .kicks = kicks_});
        CHECK(transport.has_value());
        CHECK(host_.add(*std::move(transport)).has_value());
        driver_ = std::make_unique<PciDriver>(mmio_, kicks_, kEcam, std::uint8_t{1});
    }

    std::uint64_t offered() override { return driver_->offered(); }
    std::vector<std::byte> config(std::size_t size) override {
        std::vector<std::byte> bytes(size);
        for (std::size_t i = 0; i < size; ++i) {
            bytes[i] = static_cast<std::byte>(driver_->device(i, 1));
        }
        return bytes;
    }
    void start(std::uint64_t features, const QueueDriver& queue) override {
        CHECK(driver_->negotiate(features));
        driver_->enable_msix(2);
        driver_->enable_queue(0, queue.geometry(), 1);
        driver_->set_driver_ok();
        run();
    }
    void notify() override {
        driver_->notify(0);
        run();
    }
    void run() override {
        for (int i = 0; i < 3; ++i) {
            CHECK(loop_.run_once(std::chrono::milliseconds(0)).has_value());
        }
    }
    std::uint64_t take_interrupts() override { return messages_.take(0x101); }
    bool is_broken() override { return (driver_->status() & abi::kVirtioStatusNeedsReset) != 0; }
    void stop() override {
        driver_->set_status(0);
        CHECK(driver_->status() == 0);
    }

private:
    static constexpr std::uint64_t kEcam = 0xe000'0000;

    EventLoop& loop_;
    Messages messages_;
    Kicks kicks_;
    vmm::AddressMap mmio_;
    vmm::PciHost host_{mmio_,
                       {.memory32 = {.start = 0xc000'0000, .size = 0x1000'0000},
                        .memory64 = {.start = 0x20'0000'0000, .size = 0x1000'0000}}};
    std::unique_ptr<PciDriver> driver_;
};

class VhostUserCarrier final : public Carrier {
public:
    explicit VhostUserCarrier(const Carried& carried) : ram_(carried.ram) {
        auto [ours, theirs] = *socket_pair();
        transport_ = *virtio::VhostUserTransport::create(
            carried.loop, std::move(ours), carried.device, [](const Error& /*why*/) {});
        front_ = std::make_unique<VhostUserFront>(carried.loop, std::move(theirs));
        front_->send(SetOwner, {});
        front_->send(SetProtocolFeatures, front_->ask_u64(GetProtocolFeatures));
    }

    std::uint64_t offered() override {
        // This one bit is between front and back end: the driver never sees it.
        return front_->ask_u64(GetFeatures) & ~abi::kVhostUserFProtocolFeatures;
    }
    std::vector<std::byte> config(std::size_t size) override {
        std::vector<std::byte> message(sizeof(abi::VhostUserConfigHeader) + size);
        const abi::VhostUserConfigHeader header{
            .offset = 0, .size = static_cast<std::uint32_t>(size), .flags = 0};
        std::memcpy(message.data(), &header, sizeof(header));
        front_->send(GetConfig, std::span<const std::byte>(message));
        const auto reply = front_->receive();
        CHECK(reply.has_value());
        return {reply->payload.begin() + sizeof(header), reply->payload.end()};
    }
    void start(std::uint64_t features, const QueueDriver& queue) override {
        front_->send(SetFeatures, features | abi::kVhostUserFProtocolFeatures);
        front_->share(ram_);
        fds_ = front_->start_queue(queue, 0);
        error_ = make_eventfd();
        const std::array error{error_.ref()};
        front_->send(SetVringErr, std::uint64_t{0}, error);
    }
    void notify() override {
        signal_eventfd(fds_.kick);
        run();
    }
    void run() override { front_->run(); }
    std::uint64_t take_interrupts() override { return drain_eventfd(fds_.call); }
    bool is_broken() override { return drain_eventfd(error_) != 0; }
    void stop() override { (void)front_->stop_queue(0); }

private:
    GuestRam& ram_;
    std::unique_ptr<virtio::VhostUserTransport> transport_;
    std::unique_ptr<VhostUserFront> front_;
    VhostUserFront::QueueFds fds_;
    Fd error_;
};

}  // namespace

std::unique_ptr<Carrier> carry_by_pci(const Carried& carried) {
    return std::make_unique<PciCarrier>(carried);
}

std::unique_ptr<Carrier> carry_by_vhost_user(const Carried& carried) {
    return std::make_unique<VhostUserCarrier>(carried);
}

}  // namespace pepita::test
