#include "storage/vhost_user_block.h"

#include <chrono>
#include <latch>
#include <memory>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/virtio/vhost_user/server.h"
#include "storage/disk.h"
#include "storage/virtio_block.h"

namespace pepita::storage {

namespace {

/// Longer than a thread that nobody hinders takes to end.
constexpr std::chrono::milliseconds kPatience{100};

}  // namespace

/// What the thread has made, and takes down itself: a ring may belong to the thread that made it.
struct VhostUserBlock::Served {
    std::unique_ptr<VirtioBlock> device;
    std::unique_ptr<virtio::VhostUserServer> server;
};

VhostUserBlock::VhostUserBlock(std::unique_ptr<EventLoop> loop, std::shared_ptr<storage::Disk> disk,
                               Options options)
    : options_(std::move(options)), disk_(std::move(disk)), loop_(std::move(loop)) {}

Result<std::unique_ptr<VhostUserBlock>> VhostUserBlock::start(std::shared_ptr<storage::Disk> disk,
                                                              Options options) {
    std::unique_ptr<VhostUserBlock> block(
        new VhostUserBlock(TRY(EventLoop::create()), std::move(disk), std::move(options)));
    Result<void> ready;
    std::latch done(1);
    VhostUserBlock& self = *block;
    self.thread_ = TRY(Thread::start("vhost-user-blk", [&self, &ready, &done] {
        ready = self.set_up();
        const bool may_run = ready.has_value();
        done.count_down();  // `ready` and `done` are gone after this
        if (may_run) {
            if (const Result<void> ran = self.loop_->run(); !ran) {
                log::error("vhost-user disk is not served any more",
                           {{"socket", self.options_.socket}, {"error", ran.error().message()}});
            }
        }
        self.served_.reset();
    }));
    done.wait();
    TRY(std::move(ready));
    return block;
}

VhostUserBlock::~VhostUserBlock() { stop(); }

Result<void> VhostUserBlock::set_up() {
    auto served = std::make_unique<Served>();
    served->device = TRY(
        VirtioBlock::create(*loop_, TRY(disk_->open(*loop_)), options_.serial, options_.queues));
    served->server = TRY(virtio::VhostUserServer::create(
        *loop_, *served->device, {.socket = options_.socket, .mode = options_.mode}));
    served_ = std::move(served);
    return {};
}

void VhostUserBlock::capacity_changed() {
    // The store is the one that changed it: there is nothing that could go wrong.
    loop_->post([this] { (void)served_->device->resized().has_value(); });
}

void VhostUserBlock::stop() {
    if (thread_) {
        loop_->stop();
        // A front end may have made one of its descriptors wait when the thread was about to use
        // it.
        while (!thread_.join_within(kPatience)) {
            thread_.interrupt();
        }
    }
}

}  // namespace pepita::storage
