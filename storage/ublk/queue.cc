#include "storage/ublk/queue.h"

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/disk.h"
#include "storage/request_queue.h"
#include "storage/tag_set.h"
#include "storage/ublk/request.h"

// The thread waits in the ring, never in epoll: one system call hands over what was served, waits,
// and is where the kernel copies data between its requests and our buffers. The event loop, for
// devices that need one, hangs in the ring as a poll that is asked anew each time: a poll that is
// new looks at the level, so nothing that run_once() left over is missed.

namespace pepita::storage::ublk {
namespace {

constexpr std::uint64_t kLoopTag = ~std::uint64_t{0} - 1;
constexpr RegisteredFile kDevice{0};

bool has_data(const Request& request) {
    return request.operation == Operation::Read || request.operation == Operation::Write;
}

}  // namespace

Result<std::unique_ptr<Queue>> Queue::create(Disk& disk, const Options& options) {
    std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    IoRing ring = TRY(IoRing::create({.entries = options.tags.depth() + 2U,
                                      .issuer = IoRing::Issuer::One}));  // and the loop's poll
    std::unique_ptr<Queue> queue(new Queue(options, std::move(loop), std::move(ring)));
    TRY(queue->prepare(disk), "queue ", std::to_string(options.number));
    return queue;
}

Queue::Queue(const Options& options, std::unique_ptr<EventLoop> loop, IoRing ring)
    : options_(options),
      loop_(std::move(loop)),
      asked_(options.tags.depth()),
      ring_(std::move(ring)) {}

Queue::~Queue() { ring_.abandon(); }

Result<void> Queue::prepare(Disk& disk) {
    descriptors_ = TRY(Mapping::shared_read_only(
                           options_.device, descriptors_size(static_cast<std::uint16_t>(depth())),
                           descriptors_offset(options_.number)),
                       "map the descriptors");
    buffers_ = TRY(Mapping::anonymous(Bytes(depth() * options_.request_max.value())));
    std::unique_ptr<BlockDevice> device = TRY(disk.open(*loop_));
    if (device->depth() < depth()) {
        return Error(Code::InvalidArgument, "the disk takes " + std::to_string(device->depth()) +
                                                " requests at once, not " +
                                                std::to_string(depth()));
    }
    requests_ = std::make_unique<RequestQueue>(
        std::move(device),
        RequestQueue::Options{
            .loop = *loop_,
            .tags = options_.tags,
            .on_complete =
                [this](std::span<const IoCompletion> done) {
                    for (const IoCompletion& one : done) {
                        const auto tag = static_cast<Tag>(one.tag);
                        options_.tags.give_back(tag);
                        commit(tag, result_of(tag, one.status));
                    }
                },
            .on_late =
                [this](const RequestQueue::Late& late) {
                    log::warn(
                        "a ublk queue's disk takes long; its requests wait on",
                        {{"queue", options_.number},
                         {"requests", late.count},
                         {"oldest", name_of(late.operation)},
                         {"seconds",
                          std::chrono::duration_cast<std::chrono::seconds>(late.age).count()}});
                }});
    const std::array<FdRef, 1> files{options_.device};
    TRY(ring_.register_files(files));
    for (std::uint32_t tag = 0; tag < depth(); ++tag) {
        command(static_cast<std::uint16_t>(tag), abi::UblkIoCommand::FetchReq, 0);
    }
    TRY(ring_.submit());
    ring_.reap([this](const IoRing::Completion& operation) { on_operation(operation); });
    if (refusal_ != 0) {
        return Error::from_errno(-refusal_, "fetch requests");
    }
    return {};
}

Result<void> Queue::run() {
    while (gone_ < depth() && !is_leaving_) {
        do {
            requests_->submit();
        } while (requests_->poll());
        TRY(wait());
        ring_.reap([this](const IoRing::Completion& operation) { on_operation(operation); });
    }
    requests_->drain();
    if (is_leaving_) {
        (void)ring_.submit();  // what was served is not served again by the next server
    }
    return {};
}

Result<void> Queue::wait() {
    if (!is_polling_) {
        CHECK(ring_.poll(loop_->fd(), POLLIN, kLoopTag));
        is_polling_ = true;
    }
    const std::optional<EventLoop::Clock::duration> deadline = loop_->until_deadline();
    if (!deadline) {
        return ring_.wait();
    }
    TRY(ring_.wait_for(*deadline));
    // Its descriptors come through the ring; only a deadline does not.
    if (loop_->until_deadline() != EventLoop::Clock::duration::zero()) {
        return {};
    }
    return loop_->run_once(EventLoop::Clock::duration::zero());
}

void Queue::on_operation(const IoRing::Completion& operation) {
    if (operation.tag == kLoopTag) {
        is_polling_ = false;
        // epoll_wait() on a descriptor of ours fails for our own mistakes only.
        CHECK(loop_->run_once(EventLoop::Clock::duration::zero()).has_value());
        return;
    }
    const auto tag = static_cast<std::uint16_t>(operation.tag);
    if (operation.result == abi::kUblkIoResOk) {
        begin(tag);
        return;
    }
    // ABORT: the device was stopped. Anything else: the kernel will not have this tag of us.
    if (operation.result != abi::kUblkIoResAbort && refusal_ == 0) {
        refusal_ = operation.result;
    }
    ++gone_;
}

void Queue::begin(std::uint16_t tag) {
    // SAFETY: the driver does not touch a descriptor between FETCH's completion and our COMMIT, and
    // the mapping has one for every tag.
    abi::UblkIoDescriptor descriptor{};
    std::memcpy(&descriptor, &descriptors_.bytes()[tag * sizeof(descriptor)], sizeof(descriptor));
    const std::optional<Request> request = decode(descriptor, options_.request_max);
    if (!request) {
        commit(tag, -EIO);
        return;
    }
    asked_[tag] = *request;
    if (request->operation == Operation::Write && !fetch_data(tag)) {
        commit(tag, -EIO);
        return;
    }
    options_.tags.claim(tag);  // of the kernel's set, which has as many
    const BlockDevice::Segment segment = data(tag);
    requests_->start(tag, {.operation = request->operation,
                           .first = request->first,
                           .count = request->count,
                           .segments = {&segment, 1},
                           .is_forced = request->is_forced});
}

std::int32_t Queue::result_of(std::uint16_t tag, IoStatus status) {
    const Request& request = asked_[tag];
    switch (status) {
        case IoStatus::Ok:
            if (request.operation == Operation::Read && !give_data(tag)) {
                return -EIO;
            }
            return has_data(request) ? static_cast<std::int32_t>(to_bytes(request.count).value())
                                     : 0;
        case IoStatus::NoSpace:
            return -ENOSPC;
        case IoStatus::Unsupported:
            return -EOPNOTSUPP;
        case IoStatus::Failed:
            break;
    }
    return -EIO;
}

std::span<std::byte> Queue::buffer(std::uint16_t tag) const {
    return buffers_.bytes().subspan(tag * options_.request_max.value(),
                                    options_.request_max.value());
}

std::span<std::byte> Queue::data(std::uint16_t tag) const {
    const Request& request = asked_[tag];
    return buffer(tag).first(has_data(request) ? to_bytes(request.count).value() : 0);
}

bool Queue::fetch_data(std::uint16_t tag) {
    const std::span<std::byte> into = data(tag);
    return !options_.copies_itself ||
           ::pread(options_.device.number(), into.data(), into.size(),
                   static_cast<off_t>(data_offset(options_.number, tag))) ==
               static_cast<ssize_t>(into.size());
}

bool Queue::give_data(std::uint16_t tag) {
    const std::span<const std::byte> from = data(tag);
    return !options_.copies_itself ||
           ::pwrite(options_.device.number(), from.data(), from.size(),
                    static_cast<off_t>(data_offset(options_.number, tag))) ==
               static_cast<ssize_t>(from.size());
}

void Queue::commit(std::uint16_t tag, std::int32_t result) {
    command(tag, abi::UblkIoCommand::CommitAndFetchReq, result);
}

void Queue::command(std::uint16_t tag, abi::UblkIoCommand command, std::int32_t result) {
    abi::UblkIoRequest request{};
    request.q_id = options_.number;
    request.tag = tag;
    request.result = result;
    if (!options_.copies_itself) {
        request.addr = reinterpret_cast<std::uintptr_t>(buffer(tag).data());
    }
    // The ring has an entry for every tag, and each is under way once.
    CHECK(ring_.command(kDevice, static_cast<std::uint32_t>(command),
                        std::as_bytes(std::span(&request, 1)), tag));
}

}  // namespace pepita::storage::ublk
