#include "storage/ublk_server.h"

#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/disk.h"
#include "storage/tag_set.h"
#include "storage/ublk/parameters.h"
#include "storage/ublk/queue.h"
#include "storage/ublk_control.h"

namespace pepita::storage {
namespace {

/// Best effort, all of it: a queue serves without.
void settle_thread(const std::vector<std::uint32_t>& processors) {
    // Else memory that is short could make the kernel write to our device to get some, from within
    // our own allocation.
    (void)::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    // Not to take the processor from whoever is still asking: the longer they ask, the more is
    // served by one system call. Seen with fio at a depth of 32 on one processor: 1.3 to 1.5 times
    // as many requests.
    const sched_param parameters{};
    (void)::sched_setscheduler(0, SCHED_BATCH, &parameters);
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const std::uint32_t processor : processors) {
        if (processor < CPU_SETSIZE) {
            CPU_SET(processor, &set);
        }
    }
    (void)::sched_setaffinity(0, sizeof(set), &set);
}

/// Linux sorts what goes to a disk of one queue by place (mq-deadline), which memory does not need.
/// Seen: 1.3 to 2 times as many random reads without. Best effort.
void unschedule(UblkId id) {
    const std::string path =
        "/sys/block/ublkb" + std::to_string(static_cast<std::uint32_t>(id)) + "/queue/scheduler";
    (void)write_file(path, "none");
}

}  // namespace

/// A queue's thread, and what passes between it and the server's.
class UblkServer::Worker {
public:
    struct Options {
        Disk& disk;
        ublk::Queue::Options queue;
        std::string name;
        std::vector<std::uint32_t> processors;
        FdRef ended;
    };

    /// Waits until all requests of the queue have been fetched. Errors: Thread's and Queue's.
    static Result<std::unique_ptr<Worker>> start(Options options) {
        std::unique_ptr<Worker> worker(new Worker(std::move(options)));
        Worker* self = worker.get();  // its thread ends before it does
        worker->thread_ = TRY(Thread::start(worker->options_.name, [self] { self->body(); }));
        TRY(worker->wait_until_ready());
        return worker;
    }

    /// Makes the queue end though its device lives. Thread: any, until join().
    void leave() {
        const std::scoped_lock lock(mutex_);
        if (queue_ != nullptr) {
            queue_->loop().post([queue = queue_] { queue->leave(); });
        }
    }

    bool is_serving() {
        const std::scoped_lock lock(mutex_);
        return queue_ != nullptr;
    }

    void join() {
        thread_.join();
        owned_.reset();
    }

private:
    explicit Worker(Options options) : options_(std::move(options)) {}

    Result<void> wait_until_ready() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_ready_; });
        return std::move(outcome_);
    }

    void report(Result<void> outcome, ublk::Queue* queue) {
        const std::scoped_lock lock(mutex_);
        outcome_ = std::move(outcome);
        is_ready_ = true;
        queue_ = queue;
        changed_.notify_one();
    }

    void body() {
        settle_thread(options_.processors);
        Result<std::unique_ptr<ublk::Queue>> queue =
            ublk::Queue::create(options_.disk, options_.queue);
        if (!queue.has_value()) {
            report(std::move(queue.error()), nullptr);
            return;
        }
        owned_ = *std::move(queue);
        report({}, owned_.get());
        const Result<void> served = owned_->run();
        {
            const std::scoped_lock lock(mutex_);
            queue_ = nullptr;
        }
        if (!served.has_value()) {
            log::error("a queue of a ublk device is served no longer",
                       {{"queue", options_.name}, {"error", served.error().message()}});
        }
        signal_eventfd(options_.ended);
    }

    Options options_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_ready_ = false;  // guarded by mutex_
    Result<void> outcome_;   // guarded by mutex_
    // Made and used by the thread, and gone only after it: Linux 6.12 may lose a request when the
    // ring of a thread that still lives is closed.
    std::unique_ptr<ublk::Queue> owned_;
    ublk::Queue* queue_ = nullptr;  // guarded by mutex_; while the thread serves
    Thread thread_;                 // last: it uses the others
};

UblkServer::UblkServer(UblkControl& control, UblkId id, std::shared_ptr<Disk> disk)
    : control_(control), id_(id), disk_(std::move(disk)) {}

UblkServer::~UblkServer() { (void)stop(); }

Result<std::unique_ptr<UblkServer>> UblkServer::start(UblkControl& control,
                                                      std::shared_ptr<Disk> disk,
                                                      const Options& options) {
    UblkLayout layout{.id = options.id,
                      .queues = options.queues,
                      .depth = options.depth,
                      .request_max = options.request_max,
                      .features = control.features() & abi::kUblkFUpdateSize,
                      .mark = options.mark};
    if (options.recovery == Recovery::Reissue && options.owner == Owner::Root) {
        layout.features |= abi::kUblkFUserRecovery | abi::kUblkFUserRecoveryReissue;
    }
    if (options.copy == Copy::ByServer) {
        layout.features |= abi::kUblkFUserCopy;
    }
    const bool can_move = disk->file().has_value() && options.owner == Owner::Root &&
                          (control.features() & abi::kUblkFAutoBufReg) != 0;
    if (options.copy == Copy::Never && can_move) {
        // By us, where the kernel cannot register a request's memory.
        layout.features |= abi::kUblkFAutoBufReg | abi::kUblkFUserCopy;
    }
    if (options.commands == Commands::Many) {
        layout.features |= control.features() & abi::kUblkFBatchIo;
    }
    if (options.owner == Owner::User) {
        layout.features |= abi::kUblkFUnprivilegedDev;
    }
    if (disk->capacity().value() == 0) {
        return Error(Code::InvalidArgument, "ublk device of no size");
    }
    const abi::UblkDeviceInfo info = TRY(control.add(layout));
    std::unique_ptr<UblkServer> server(
        new UblkServer(control, UblkId(info.dev_id), std::move(disk)));
    const Disk& served = *server->disk_;
    server->is_served_ = true;  // from here on its destructor takes the device away
    // First, because an unprivileged owner may command it once udev has handed it over.
    server->device_ = TRY(control.open_device(server->id_));
    TRY(control.set_parameters(
        server->id_,
        ublk::build_parameters(served.capacity(), served.access(), Bytes(info.max_io_buf_bytes))));
    TRY(server->serve(info), "serve ublk device ", std::to_string(info.dev_id));
    TRY(control.start(server->id_));
    unschedule(server->id_);
    return server;
}

Result<std::unique_ptr<UblkServer>> UblkServer::recover(UblkControl& control, UblkId id,
                                                        std::shared_ptr<Disk> disk) {
    const std::string name = std::to_string(static_cast<std::uint32_t>(id));
    const abi::UblkParams parameters = TRY(control.parameters(id));
    if (parameters.basic.dev_sectors > disk->capacity().value()) {
        return Error(Code::FailedPrecondition, "ublk device " + name + " has " +
                                                   std::to_string(parameters.basic.dev_sectors) +
                                                   " sectors, its disk " +
                                                   std::to_string(disk->capacity().value()));
    }
    TRY(control.start_recovery(id));
    const abi::UblkDeviceInfo info = TRY(control.info(id));
    std::unique_ptr<UblkServer> server(new UblkServer(control, id, std::move(disk)));
    server->device_ = TRY(control.open_device(id));
    Result<void> served = server->serve(info);
    if (served.has_value()) {
        served = control.end_recovery(id);
    }
    if (!served.has_value()) {
        server->detach();  // the next one may have more luck
        return std::move(served.error()).within("recover ublk device " + name);
    }
    server->is_served_ = true;
    if (parameters.basic.dev_sectors < server->disk_->capacity().value() &&
        (info.flags & abi::kUblkFUpdateSize) != 0) {
        TRY(server->resize());  // the last server was killed before it got to this
    }
    return server;
}

Result<void> UblkServer::serve(const abi::UblkDeviceInfo& info) {
    ended_ = TRY(create_eventfd());
    tags_.emplace(TRY(TagSet::create({.queues = info.nr_hw_queues, .depth = info.queue_depth})));
    for (std::uint16_t number = 0; number < info.nr_hw_queues; ++number) {
        Worker::Options options{
            .disk = *disk_,
            .queue = {.device = device_.ref(),
                      .number = number,
                      .request_max = Bytes(info.max_io_buf_bytes),
                      .tags = tags_->queue(number),
                      .copies_itself = (info.flags & abi::kUblkFUserCopy) != 0,
                      .registers_buffers = (info.flags & abi::kUblkFAutoBufReg) != 0,
                      .batches = (info.flags & abi::kUblkFBatchIo) != 0},
            .name = "ublk" + std::to_string(info.dev_id) + "-" + std::to_string(number),
            .processors = TRY(control_.queue_processors(id_, number)),
            .ended = ended_.ref()};
        workers_.push_back(TRY(Worker::start(std::move(options))));
    }
    return {};
}

Result<void> UblkServer::stop(std::chrono::nanoseconds limit) {
    if (!std::exchange(is_served_, false)) {
        return {};
    }
    write_back();
    const Result<void> stopped = control_.stop(id_);
    if (!stopped.has_value()) {
        // Nothing but leaving ends the threads then.
        for (const std::unique_ptr<Worker>& worker : workers_) {
            worker->leave();
        }
    }
    join();
    return control_.remove(id_, limit);
}

/// A recoverable device fails what comes in once STOP_DEV was called, the write-back of that very
/// call included (Linux 6.12, ublk_unquiesce_dev).
void UblkServer::write_back() const {
    for (const std::unique_ptr<Worker>& worker : workers_) {
        if (!worker->is_serving()) {
            return;  // it would wait for ever
        }
    }
    const Result<Fd> disk = open_file(ublk_block_path(id_).c_str(), O_RDONLY);
    if (disk.has_value()) {
        (void)::fsync(disk->ref().number());
    }
}

void UblkServer::detach() {
    for (const std::unique_ptr<Worker>& worker : workers_) {
        worker->leave();
    }
    join();
    is_served_ = false;
}

void UblkServer::join() {
    for (const std::unique_ptr<Worker>& worker : workers_) {
        worker->join();
    }
    device_ = Fd();
}

Result<void> UblkServer::resize() { return control_.resize(id_, disk_->capacity()); }

}  // namespace pepita::storage
