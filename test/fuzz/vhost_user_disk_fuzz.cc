#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/vhost_user/back_end.h"
#include "storage/virtio_block.h"
#include "storage/zram_device.h"
#include "storage/zram_store.h"
#include "test/support/driver.h"
#include "test/support/vhost_user_front.h"

// A front end with a disk of several queues, and its guest: sound requests and broken ones, queues
// that stop and go, the configuration, descriptors whose flags change, memory that is taken away.
// What a sound request wrote is what the next one reads, whatever happened between.

namespace {

using namespace pepita;  // NOLINT(google-build-using-namespace): one subject.
using enum abi::VhostUserRequest;

constexpr std::uint16_t kQueues = 3;
constexpr std::uint64_t kSectors = 64;
constexpr std::size_t kSector = 512;

/// The device lives on: what one input leaves behind, the next one finds.
struct Disk {
    Disk() {
        const auto store =
            *storage::ZramStore::create(Fd(::memfd_create("store", MFD_CLOEXEC)), 16_MiB);
        const auto volume =
            *store->create_volume({.name = "disk", .capacity = Pages(kSectors / 8)});
        device = *storage::VirtioBlock::create(*loop, std::make_unique<storage::ZramDevice>(volume),
                                               "fuzz", kQueues);
    }
    std::unique_ptr<EventLoop> loop = *EventLoop::create();
    std::unique_ptr<storage::VirtioBlock> device;
};

/// One thing that is done: four bytes of input.
struct Act {
    std::uint8_t what;
    std::uint8_t queue;
    std::uint8_t at;
    std::uint8_t value;
};

class Front {
public:
    explicit Front(Disk& disk) : disk_(disk) {
        auto [ours, theirs] = *socket_pair();
        transport_ = *virtio::VhostUserTransport::create(
            *disk.loop, std::move(ours), *disk.device, [this](const Error&) { transport_.reset(); },
            {.tracks_in_flight = true});
        front_ = std::make_unique<test::VhostUserFront>(*disk.loop, std::move(theirs));
        front_->send(SetProtocolFeatures,
                     abi::kVhostUserProtocolMq | abi::kVhostUserProtocolReplyAck |
                         abi::kVhostUserProtocolConfig | abi::kVhostUserProtocolBackendReq);
        front_->send(SetFeatures, abi::kVirtioFVersion1 | abi::kVirtioFEventIdx |
                                      abi::kVirtioFIndirectDesc | abi::kVirtioBlkFFlush |
                                      abi::kVirtioBlkFMq | abi::kVhostUserFProtocolFeatures);
        front_->share(ram_);
        for (std::uint16_t i = 0; i < kQueues; ++i) {
            queues_.push_back(std::make_unique<test::QueueDriver>(ram_));
            fds_.push_back(front_->start_queue(*queues_.back(), i));
        }
        run();
    }

    bool is_over() const { return transport_ == nullptr || is_cut_; }

    void perform(const Act& act) {
        const std::size_t queue = act.queue % kQueues;
        switch (act.what % 12) {
            case 0:
            case 1:
                move(queue, abi::kVirtioBlkTOut, act.at % kSectors, act.value);
                break;
            case 2:
                move(queue, abi::kVirtioBlkTIn, act.at % kSectors, act.value);
                break;
            case 3:  // beyond the end, of a wrong type, of no length
                if (is_sound_ && open_[queue] < kOpenMax) {
                    is_known_ = false;
                    (void)ask(queue, act.value, std::uint64_t{act.at} << (act.value % 58U),
                              act.at * 16U, act.value);
                    (void)collect(queue);
                }
                break;
            case 4:
                is_sound_ = false;
                queues_[queue]->write_descriptor(
                    act.at % 8, {.address = std::uint64_t{act.value} << (act.at % 60U),
                                 .length = act.value * 129U,
                                 .flags = act.at,
                                 .next = act.value});
                queues_[queue]->publish(act.at);
                break;
            case 5:
                front_->send(SetVringEnable,
                             abi::VhostUserVringState{.index = act.queue, .num = act.value % 3U});
                break;
            case 6:
                stop(queue, act);
                break;
            case 7:
                config(act);
                break;
            case 8:
                flags(queue, act);
                break;
            case 9:
                message(act);
                break;
            case 10:
                (void)disk_.device->resized().has_value();
                break;
            default:
                cut(act);
                break;
        }
        run();
        while (front_->receive()) {}
    }

    /// After this, nothing of the guest's memory is touched here: it may be gone.
    void end() {
        for (const auto& fds : fds_) {
            signal_lent_eventfd(fds.kick.ref());
        }
        for (int i = 0; i < 8; ++i) {
            run();
        }
        transport_.reset();
    }

private:
    void run() { (void)disk_.loop->run_once(std::chrono::milliseconds(0)).has_value(); }

    struct Request {
        virtio::GuestAddress data;
        virtio::GuestAddress status;
    };

    Request ask(std::size_t queue, std::uint32_t type, std::uint64_t sector, std::uint32_t length,
                std::uint8_t value) {
        next_ = (next_ + 1) % 24;
        const std::uint64_t at = kRequests + next_ * 1024;
        const virtio::GuestAddress base{at};
        const Request request{.data = virtio::GuestAddress{at + 512},
                              .status = virtio::GuestAddress{at + 16}};
        ram_.write(base,
                   abi::VirtioBlkRequestHeader{.type = type, .reserved = 0, .sector = sector});
        ram_.write(request.status, std::uint8_t{0xee});
        std::ranges::fill(ram_.at(request.data, kSector), static_cast<std::byte>(value));
        const auto direction =
            type == abi::kVirtioBlkTOut ? test::Direction::ToDevice : test::Direction::FromDevice;
        (void)queues_[queue]->add(
            {{.at = base, .length = sizeof(abi::VirtioBlkRequestHeader)},
             {.at = request.data, .length = length, .direction = direction},
             {.at = request.status, .length = 1, .direction = test::Direction::FromDevice}});
        ++open_[queue];
        signal_lent_eventfd(fds_[queue].kick.ref());
        run();
        return request;
    }

    /// One sector, if the ring has room; what was written before is what is read.
    void move(std::size_t queue, std::uint32_t type, std::uint64_t sector, std::uint8_t value) {
        if (!is_sound_ || open_[queue] == kOpenMax) {
            return;
        }
        const Request request = ask(queue, type, sector, kSector, value);
        const bool is_done = collect(queue) == 1 && open_[queue] == 0 &&
                             ram_.read<std::uint8_t>(request.status) == 0;
        is_known_ = is_known_ && is_done;
        if (!is_known_) {
            return;  // done later, perhaps, and after others
        }
        int& known = model_[sector];
        if (type == abi::kVirtioBlkTOut) {
            known = value;
        } else if (known >= 0) {
            CHECK(std::ranges::all_of(ram_.at(request.data, kSector), [&](std::byte byte) {
                return byte == static_cast<std::byte>(known);
            }));
        }
    }

    int collect(std::size_t queue) {
        int count = 0;
        while (transport_ != nullptr && queues_[queue]->collect()) {
            --open_[queue];
            ++count;
        }
        return count;
    }

    void stop(std::size_t queue, const Act& act) {
        const std::uint32_t next = front_->stop_queue(static_cast<std::uint32_t>(queue));
        if (act.value % 4 == 0) {
            return;
        }
        const auto index = static_cast<std::uint32_t>(queue);
        front_->send(SetVringBase, abi::VhostUserVringState{
                                       .index = index, .num = act.value % 4 == 1 ? act.at : next});
        is_sound_ = is_sound_ && act.value % 4 != 1;
        const std::array kick{fds_[queue].kick.ref()};
        front_->send(SetVringKick, std::uint64_t{index}, kick);
    }

    void config(const Act& act) {
        struct Asked {
            abi::VhostUserConfigHeader header;
            std::array<std::byte, 64> bytes;
        };
        Asked asked{.header = {.offset = act.at, .size = act.value, .flags = act.queue},
                    .bytes = {}};
        const std::size_t size =
            sizeof(asked.header) + std::min<std::size_t>(act.value, asked.bytes.size());
        front_->send(act.queue % 2 == 0 ? GetConfig : SetConfig,
                     std::as_bytes(std::span(&asked, 1)).first(size));
    }

    /// What the other holder of an eventfd can do.
    void flags(std::size_t queue, const Act& act) {
        const Fd& fd = act.at % 2 == 0 ? fds_[queue].call : fds_[queue].kick;
        (void)::fcntl(fd.ref().number(), F_SETFL, act.value % 2 == 0 ? 0 : O_NONBLOCK);
        const std::uint64_t most = UINT64_MAX - 1;
        if (act.value % 4 >= 2) {
            (void)drain_lent_eventfd(fd.ref()).has_value();
            (void)!::write(fd.ref().number(), &most, sizeof(most));
        }
    }

    void message(const Act& act) {
        const std::array kinds{ram_.fd(), fds_[0].call.ref(), FdRef(STDERR_FILENO)};
        std::vector<FdRef> chosen;
        if (act.at % 4 != 0) {
            chosen.push_back(kinds.at(act.at % kinds.size()));
        }
        front_->send(abi::VhostUserRequest{act.queue % 42U}, std::uint64_t{act.value}, chosen);
    }

    void cut(const Act& act) {
        is_cut_ = true;
        CHECK(::ftruncate(ram_.fd().number(), static_cast<off_t>(act.value) * 512) == 0);
    }

    static constexpr std::uint64_t kRequests = 0x8000;
    static constexpr int kOpenMax = 2;  // of 3 descriptors each, in a ring of 8

    Disk& disk_;
    test::GuestRam ram_{64_KiB};
    std::unique_ptr<virtio::VhostUserTransport> transport_;
    std::unique_ptr<test::VhostUserFront> front_;
    std::vector<std::unique_ptr<test::QueueDriver>> queues_;
    std::vector<test::VhostUserFront::QueueFds> fds_;
    std::array<int, kSectors> model_ = [] {
        std::array<int, kSectors> none{};
        none.fill(-1);
        return none;
    }();
    std::uint64_t next_ = 0;
    std::array<int, kQueues> open_{};
    bool is_sound_ = true;  // the rings are
    bool is_known_ = true;  // what the disk holds is
    bool is_cut_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
    (void)std::signal(SIGPIPE, SIG_IGN);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Disk disk;
    Front front(disk);
    for (; size >= sizeof(Act) && !front.is_over(); size -= sizeof(Act)) {
        Act act{};
        std::memcpy(&act, data, sizeof(act));
        data += sizeof(act);
        front.perform(act);
    }
    front.end();
    return 0;
}
