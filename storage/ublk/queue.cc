#include "storage/ublk/queue.h"

#include <poll.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
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
#include <vector>

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
constexpr std::uint64_t kFetchTag = ~std::uint64_t{0} - 2;
constexpr std::uint64_t kBatchTag = ~std::uint64_t{0} - 3;
constexpr std::uint16_t kFetchBuffers = 64;
constexpr Bytes kFetchSize{256};  // the kernel brings 128 tags at once at the most
constexpr std::uint64_t kMoveBit = std::uint64_t{1} << 32U;  // beside the request's tag
constexpr RegisteredFile kDevice{0};
constexpr RegisteredFile kFile{1};

bool has_data(const Request& request) {
    return request.operation == Operation::Read || request.operation == Operation::Write;
}

}  // namespace

Result<std::unique_ptr<Queue>> Queue::create(Disk& disk, const Options& options) {
    std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    IoRing ring = TRY(IoRing::create({.entries = options.tags.depth() + 4U,
                                      .issuer = IoRing::Issuer::One}));  // loop, fetch, batch
    std::unique_ptr<Queue> queue(new Queue(options, std::move(loop), std::move(ring)));
    TRY(queue->prepare(disk), "queue ", std::to_string(options.number));
    return queue;
}

Queue::Queue(const Options& options, std::unique_ptr<EventLoop> loop, IoRing ring)
    : options_(options),
      loop_(std::move(loop)),
      slots_(options.tags.depth()),
      batch_(options.copies_itself ? CommitBatch::Addresses::None : CommitBatch::Addresses::Each),
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
    serve(std::move(device));
    std::vector<FdRef> files{options_.device};
    if (const std::optional<FdRef> file = disk.file(); file && options_.registers_buffers) {
        files.push_back(*file);
        has_file_ = true;
    }
    TRY(ring_.register_files(files));
    if (options_.registers_buffers) {
        TRY(ring_.reserve_buffers(depth()));
    }
    return options_.batches ? prepare_batches() : fetch_all();
}

void Queue::serve(std::unique_ptr<BlockDevice> device) {
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
}

Result<void> Queue::fetch_all() {
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

Result<void> Queue::prepare_batches() {
    TRY(ring_.provide_buffers(kFetchBuffers, kFetchSize));
    for (std::uint32_t tag = 0; tag < depth(); ++tag) {
        add_to_batch(static_cast<std::uint16_t>(tag), 0);
    }
    send_batch(abi::UblkIoCommand::PrepIoCmds);
    TRY(ring_.wait());
    ring_.reap([this](const IoRing::Completion& operation) {
        refusal_ = operation.result;
        batch_.on_taken(depth() * std::size_t{batch_.element_size()});
    });
    if (refusal_ != 0) {
        return Error::from_errno(-refusal_, "prepare requests");
    }
    fetch_batches();
    return ring_.submit();
}

void Queue::fetch_batches() {
    abi::UblkBatchIo request{};
    request.q_id = options_.number;
    request.nr_elem = static_cast<std::uint16_t>(kFetchSize.value() / sizeof(std::uint16_t));
    request.elem_bytes = sizeof(std::uint16_t);
    CHECK(ring_.command_multishot(kDevice,
                                  static_cast<std::uint32_t>(abi::UblkIoCommand::FetchIoCmds),
                                  std::as_bytes(std::span(&request, 1)), kFetchTag));
}

void Queue::on_fetched(const IoRing::Completion& operation) {
    for (std::size_t at = 0; at + sizeof(std::uint16_t) <= operation.bytes.size();
         at += sizeof(std::uint16_t)) {
        std::uint16_t tag = 0;
        std::memcpy(&tag, &operation.bytes[at], sizeof(tag));
        CHECK(tag < depth());
        begin(tag);
    }
    if (operation.more) {
        return;
    }
    if (operation.result >= 0 || operation.result == -ENOBUFS) {
        fetch_batches();
        return;
    }
    if (operation.result != abi::kUblkIoResAbort) {
        refusal_ = operation.result;
    }
    gone_ = depth();
}

/// One before each wait.
void Queue::send_batch(abi::UblkIoCommand command) {
    const std::span<const std::uint64_t> elements = batch_.send();
    if (elements.empty()) {
        return;
    }
    abi::UblkBatchIo request{};
    request.q_id = options_.number;
    request.flags = options_.registers_buffers ? abi::kUblkBatchFAutoBufRegFallback
                    : options_.copies_itself   ? std::uint16_t{0}
                                               : abi::kUblkBatchFHasBufAddr;
    request.nr_elem = batch_.count(elements);
    request.elem_bytes = batch_.element_size();
    CHECK(ring_.command(kDevice, static_cast<std::uint32_t>(command),
                        std::as_bytes(std::span(&request, 1)), kBatchTag,
                        reinterpret_cast<std::uintptr_t>(elements.data())));
}

void Queue::on_committed(std::int32_t result) {
    if (result < 0) {  // the kernel takes nothing of us any more
        refusal_ = result;
        gone_ = depth();
    }
    batch_.on_taken(static_cast<std::size_t>(std::max(result, 0)));
}

void Queue::add_to_batch(std::uint16_t tag, std::int32_t result) {
    const auto address =
        options_.copies_itself ? 0 : reinterpret_cast<std::uintptr_t>(buffer(tag).data());
    batch_.add({.tag = tag, .buf_index = tag, .result = result}, address);
}

bool Queue::is_over() const {
    return gone_ >= depth() && (refusal_ != 0 || (busy_ == 0 && batch_.is_empty()));
}

Result<void> Queue::run() {
    while (!is_over() && !is_leaving_) {
        do {
            requests_->submit();
        } while (requests_->poll());
        send_batch(abi::UblkIoCommand::CommitIoCmds);
        TRY(wait());
        ring_.reap([this](const IoRing::Completion& operation) { on_operation(operation); });
    }
    requests_->drain();
    if (is_leaving_) {
        TRY(finish());  // what was served is not served again by the next server
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
    if (operation.tag == kFetchTag) {
        on_fetched(operation);
        return;
    }
    if (operation.tag == kBatchTag) {
        on_committed(operation.result);
        return;
    }
    const auto tag = static_cast<std::uint16_t>(operation.tag);
    if ((operation.tag & kMoveBit) != 0) {
        on_moved(tag, operation.result);
        return;
    }
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
    ++busy_;
    // SAFETY: the driver does not touch a descriptor between FETCH's completion and our COMMIT, and
    // the mapping has one for every tag.
    abi::UblkIoDescriptor descriptor{};
    std::memcpy(&descriptor, &descriptors_.bytes()[tag * sizeof(descriptor)], sizeof(descriptor));
    const std::optional<Request> request = decode(descriptor, options_.request_max);
    if (!request) {
        commit(tag, -EIO);
        return;
    }
    slots_[tag] = {.request = *request};
    if (can_move(tag, descriptor.op_flags)) {
        move(tag);
        return;
    }
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

bool Queue::can_move(std::uint16_t tag, std::uint32_t op_flags) const {
    const Request& request = slots_[tag].request;
    const bool is_allowed =
        request.operation == Operation::Read || (request.operation == Operation::Write &&
                                                 requests_->device().access() == Access::ReadWrite);
    return has_file_ && is_allowed && (op_flags & abi::kUblkIoFNeedRegBuf) == 0 &&
           is_within(requests_->device().capacity(), request.first, request.count);
}

void Queue::move(std::uint16_t tag) {
    const Slot& slot = slots_[tag];
    const Bytes left = to_bytes(slot.request.count) - slot.moved;
    // SAFETY: no address of ours; in registered memory of a driver the kernel counts from 0.
    const std::span<std::byte> bytes(
        // NOLINTNEXTLINE(performance-no-int-to-ptr): for the kernel it is a number
        reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(slot.moved.value())),
        left.value());
    const std::uint64_t offset = to_bytes(slot.request.first).value() + slot.moved.value();
    const auto buffer = static_cast<RegisteredBuffer>(tag);
    const bool is_queued = slot.request.operation == Operation::Read
                               ? ring_.read_into(buffer, bytes, kFile, offset, tag | kMoveBit)
                               : ring_.write_from(buffer, bytes, kFile, offset, tag | kMoveBit,
                                                  slot.request.is_forced ? IoRing::Write::Synced
                                                                         : IoRing::Write::Cached);
    CHECK(is_queued);  // in the place of the tag's command
    ++moving_;
}

void Queue::on_moved(std::uint16_t tag, std::int32_t result) {
    --moving_;
    Slot& slot = slots_[tag];
    const Bytes whole = to_bytes(slot.request.count);
    if (result > 0) {
        slot.moved = slot.moved + Bytes(static_cast<std::uint64_t>(result));
    }
    if (result == -EINTR || result == -EAGAIN || (result > 0 && slot.moved < whole)) {
        move(tag);
        return;
    }
    if (result > 0) {
        commit(tag, static_cast<std::int32_t>(whole.value()));
    } else {  // 0: a file that was cut short behind our back
        commit(tag, result == -ENOSPC ? -ENOSPC : -EIO);
    }
}

/// For the next server, requests that come now are as good as not fetched.
Result<void> Queue::finish() {
    while (moving_ > 0 || (!batch_.is_empty() && gone_ < depth())) {
        send_batch(abi::UblkIoCommand::CommitIoCmds);
        TRY(ring_.wait());
        ring_.reap([this](const IoRing::Completion& operation) {
            if (operation.tag == kBatchTag) {
                on_committed(operation.result);
            } else if (operation.tag < kBatchTag && (operation.tag & kMoveBit) != 0) {
                on_moved(static_cast<std::uint16_t>(operation.tag), operation.result);
            }
        });
    }
    return ring_.submit();
}

std::int32_t Queue::result_of(std::uint16_t tag, IoStatus status) {
    const Request& request = slots_[tag].request;
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
    const Request& request = slots_[tag].request;
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
    --busy_;
    if (options_.batches) {
        add_to_batch(tag, result);
        return;
    }
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
    const std::uint64_t place = options_.registers_buffers
                                    ? abi::to_sqe_address({.index = tag,
                                                           .flags = abi::kUblkAutoBufRegFallback,
                                                           .reserved0 = 0,
                                                           .reserved1 = 0})
                                    : 0;
    // The ring has an entry for every tag, and each is under way once.
    CHECK(ring_.command(kDevice, static_cast<std::uint32_t>(command),
                        std::as_bytes(std::span(&request, 1)), tag, place));
}

}  // namespace pepita::storage::ublk
