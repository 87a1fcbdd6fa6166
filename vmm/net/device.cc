#include "vmm/net/device.h"

#include <linux/if_tun.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/virtio_net.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/ring.h"
#include "vmm/net/control_queue.h"
#include "vmm/net/frame.h"
#include "vmm/net/receive_queue.h"
#include "vmm/net/token_bucket.h"
#include "vmm/net/transmit_queue.h"

namespace pepita::vmm::net {
namespace {

/// What the driver may turn off by a command, and is off until a driver agrees.
constexpr std::uint64_t kGuestOffloads = abi::kVirtioNetFGuestCsum | abi::kVirtioNetFGuestTso4 |
                                         abi::kVirtioNetFGuestTso6 | abi::kVirtioNetFGuestEcn;

/// Frames as the tap may give them from now on.
unsigned tap_offloads(std::uint64_t features) {
    if ((features & abi::kVirtioNetFGuestCsum) == 0) {
        return 0;  // the others depend on it
    }
    const auto flag = [features](std::uint64_t feature, unsigned value) {
        return (features & feature) != 0 ? value : 0U;
    };
    const unsigned tso =
        flag(abi::kVirtioNetFGuestTso4, TUN_F_TSO4) | flag(abi::kVirtioNetFGuestTso6, TUN_F_TSO6);
    return TUN_F_CSUM | tso | (tso != 0 ? flag(abi::kVirtioNetFGuestEcn, TUN_F_TSO_ECN) : 0U);
}

}  // namespace

Result<std::unique_ptr<NetDevice>> NetDevice::create(EventLoop& loop, std::vector<Fd> taps,
                                                     const Options& options) {
    if (taps.empty()) {
        return Error(Code::InvalidArgument, "there is no tap");
    }
    std::unique_ptr<NetDevice> device(new NetDevice(loop, std::move(taps), options));
    TRY(device->watch_taps());
    return device;
}

NetDevice::NetDevice(EventLoop& loop, std::vector<Fd> taps, const Options& options)
    : loop_(loop),
      pairs_(taps.size()),
      rx_bucket_(options.rx_bytes_per_second, TokenBucket::Clock::now()),
      tx_bucket_(options.tx_bytes_per_second, TokenBucket::Clock::now()) {
    for (Fd& tap : taps) {
        taps_.push_back({.fd = std::move(tap), .watch = {}, .events = 0});
    }
    queue_sizes_.assign(2 * pairs_.size(), kQueueSize);
    queue_sizes_.push_back(kControlQueueSize);
    config_.mac = options.mac;
    config_.status = abi::kVirtioNetSLinkUp;
    config_.max_virtqueue_pairs = static_cast<std::uint16_t>(pairs_.size());
    config_.mtu = options.mtu;
}

NetDevice::~NetDevice() { reset(); }

Result<void> NetDevice::watch_taps() {
    for (std::size_t i = 0; i < taps_.size(); ++i) {
        TRY(set_nonblocking(taps_[i].fd.ref()), "tap");
        taps_[i].watch = TRY(loop_.watch(taps_[i].fd.ref(), 0,
                                         [this, i](std::uint32_t events) { on_tap(i, events); }),
                             "tap");
    }
    return {};
}

std::uint64_t NetDevice::features() const {
    return abi::kVirtioNetFCsum | abi::kVirtioNetFHostTso4 | abi::kVirtioNetFHostTso6 |
           abi::kVirtioNetFHostEcn | kGuestOffloads | abi::kVirtioNetFMrgRxbuf |
           abi::kVirtioNetFMac | abi::kVirtioNetFStatus | abi::kVirtioNetFCtrlVq |
           abi::kVirtioNetFCtrlGuestOffloads | (config_.mtu != 0 ? abi::kVirtioNetFMtu : 0) |
           (pairs_.size() > 1 ? abi::kVirtioNetFMq : 0);
}

std::span<const std::byte> NetDevice::config() const {
    return std::as_bytes(std::span(&config_, 1));
}

void NetDevice::start(const virtio::Session& session) {
    notifier_ = &session.notifier;
    features_ = session.features;
    commanded_pairs_ = 1;
    apply_offloads(features_);
}

void NetDevice::apply_offloads(std::uint64_t features) const {
    // One that cannot has frames without offload for us, which is no error.
    (void)::ioctl(taps_.front().fd.ref().number(), TUNSETOFFLOAD, tap_offloads(features));
}

Result<std::size_t> NetDevice::start_queue(std::uint16_t queue, const virtio::QueueSetup& setup) {
    if (queue > control_index() || notifier_ == nullptr) {
        return std::size_t{0};
    }
    virtio::Ring ring = TRY(setup.open());
    const std::size_t inherited = ring.inherited();
    if (queue == control_index()) {
        control_.emplace(
            std::move(ring),
            ControlQueue::Commands{
                .set_pairs = [this](std::uint16_t pairs) { return set_pairs(pairs); },
                .set_offloads = [this](std::uint64_t wanted) { return set_offloads(wanted); }});
        was_control_broken_ = false;
    } else if (Pair& pair = pairs_[queue / 2]; queue % 2 == 0) {
        pair.receive.emplace(std::move(ring), (features_ & abi::kVirtioNetFMrgRxbuf) != 0);
        pair.was_receive_broken = false;
    } else {
        pair.transmit.emplace(std::move(ring), features_);
        pair.was_transmit_broken = false;
    }
    kick(queue);
    return inherited;
}

std::uint16_t NetDevice::stop_queue(std::uint16_t queue) {
    std::uint16_t next = 0;
    if (queue == control_index()) {
        next = control_ ? control_->ring().next_available() : next;
        control_.reset();
    } else if (queue < control_index()) {
        Pair& pair = pairs_[queue / 2];
        if (queue % 2 == 0) {
            next = pair.receive ? pair.receive->next_available() : next;
            pair.receive.reset();
        } else {
            next = pair.transmit ? pair.transmit->ring().next_available() : next;
            pair.transmit.reset();
        }
    }
    return next;
}

void NetDevice::kick(std::uint16_t queue) {
    if (queue == control_index()) {
        serve_control();
    } else if (queue > control_index()) {
        return;
    } else if (queue % 2 == 1) {
        transmit(queue / 2);
    } else {
        receive_all();
    }
}

void NetDevice::reset() {
    for (Pair& pair : pairs_) {
        pair = Pair();
    }
    control_.reset();
    for (Tap& tap : taps_) {
        wait_for(tap, 0);
    }
    if (std::exchange(notifier_, nullptr) != nullptr) {
        apply_offloads(0);
    }
    rx_turn_.cancel();
    tx_turn_.cancel();
    control_turn_.cancel();
}

void NetDevice::set_link(bool is_up) {
    const std::uint16_t before = config_.status;
    config_.status = is_up ? abi::kVirtioNetSLinkUp : std::uint16_t{0};
    if (config_.status != before && notifier_ != nullptr) {
        notifier_->config_changed();
    }
}

/// A front end that serves the control queue itself starts the queues that are used, and no other.
std::size_t NetDevice::active_pairs() const {
    if (control_) {
        return commanded_pairs_;
    }
    const auto idle = std::ranges::find_if(pairs_, [](const Pair& it) { return !it.receive; });
    return std::max<std::size_t>(static_cast<std::size_t>(idle - pairs_.begin()), 1);
}

bool NetDevice::set_pairs(std::uint16_t pairs) {
    if (pairs < abi::kVirtioNetCtrlMqVqPairsMin || pairs > pairs_.size() ||
        (features_ & abi::kVirtioNetFMq) == 0) {
        return false;
    }
    commanded_pairs_ = pairs;
    receive_all();  // by other queues from now on
    return true;
}

bool NetDevice::set_offloads(std::uint64_t features) {
    if ((features_ & abi::kVirtioNetFCtrlGuestOffloads) == 0 ||
        (features & ~(features_ & kGuestOffloads)) != 0) {
        return false;
    }
    apply_offloads(features);
    return true;
}

void NetDevice::wait_for(Tap& tap, std::uint32_t events) {
    if (tap.watch && std::exchange(tap.events, events) != events) {
        tap.watch.set_events(events);
    }
}

void NetDevice::lose(Tap& tap) {
    tap.watch.cancel();
    if (std::ranges::none_of(taps_, [](const Tap& it) { return static_cast<bool>(it.watch); })) {
        set_link(false);
    }
}

void NetDevice::on_tap(std::size_t tap, std::uint32_t events) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
        return lose(taps_[tap]);
    }
    receive(tap);
}

void NetDevice::receive_all() {
    for (std::size_t i = 0; i < taps_.size(); ++i) {
        receive(i);
    }
}

void NetDevice::receive(std::size_t tap) {
    const std::size_t index = tap % active_pairs();
    Pair& pair = pairs_[index];
    if (!taps_[tap].watch || !pair.receive) {
        return wait_for(taps_[tap], 0);
    }
    Budget budget{.frames = kFramesPerTurn};
    const Moved moved = pair.receive->fill(taps_[tap].fd.ref(), budget, rx_bucket_);
    if (moved == Moved::TapGone) {
        lose(taps_[tap]);
    } else if (!rx_bucket_.is_open(TokenBucket::Clock::now())) {
        wait_for(taps_[tap], 0);
        rx_turn_ = loop_.after(rx_bucket_.until_open(), [this] { receive_all(); });
    } else {
        // Where the turn is over the tap is readable still, and the loop comes back.
        wait_for(taps_[tap], moved == Moved::NoRoom ? 0U : EPOLLIN);
    }
    notify(static_cast<std::uint16_t>(2 * index), pair.receive->ring(), pair.was_receive_broken);
}

void NetDevice::transmit_all() {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
        transmit(i);
    }
}

void NetDevice::transmit(std::size_t index) {
    Pair& pair = pairs_[index];
    if (!pair.transmit) {
        return;
    }
    Budget budget{.frames = kFramesPerTurn};
    const Moved moved = pair.transmit->drain(taps_[index].fd.ref(), budget, tx_bucket_);
    if (!tx_bucket_.is_open(TokenBucket::Clock::now())) {
        tx_turn_ = loop_.after(tx_bucket_.until_open(), [this] { transmit_all(); });
    } else if (moved == Moved::TurnOver) {
        tx_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] { transmit_all(); });
    }
    notify(static_cast<std::uint16_t>(2 * index + 1), pair.transmit->ring(),
           pair.was_transmit_broken);
}

void NetDevice::serve_control() {
    if (!control_) {
        return;
    }
    Budget budget{.frames = kControlQueueSize};
    if (control_->serve(budget) == Moved::TurnOver) {
        control_turn_ = loop_.after(std::chrono::nanoseconds(0), [this] { serve_control(); });
    }
    notify(control_index(), control_->ring(), was_control_broken_);
}

void NetDevice::notify(std::uint16_t queue, virtio::Ring& ring, bool& was_broken) {
    if (ring.should_interrupt()) {
        notifier_->queue_used(queue);
    }
    if (ring.is_broken() && !std::exchange(was_broken, true)) {
        notifier_->queue_broken(queue);
    }
}

}  // namespace pepita::vmm::net
