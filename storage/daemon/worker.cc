#include "storage/daemon/worker.h"

#include <memory>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"

namespace pepita::storage::daemon {

Result<std::unique_ptr<Worker>> Worker::start() {
    std::unique_ptr<Worker> worker(new Worker(TRY(EventLoop::create())));
    EventLoop& loop = *worker->loop_;
    // A wait that fails (no memory in the kernel) would leave every call without an answer.
    worker->thread_ = TRY(Thread::start("volumes", [&loop] { CHECK(loop.run().has_value()); }));
    return worker;
}

Worker::~Worker() {
    loop_->stop();
    thread_.join();
}

}  // namespace pepita::storage::daemon
