#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/on_result.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/node.h"
#include "storage/daemon/worker.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {

/// The API on a loop that never waits: a worker asks the Node, in the order of the calls.
/// Thread: that of `loop`.
class Service final : public api::StorageService {
public:
    /// Calls that wait for the worker; one more is ResourceExhausted.
    static constexpr std::size_t kWaitingMax = 256;

    using MakeNode = std::move_only_function<Result<std::unique_ptr<Node>>()>;
    /// Both outlive the service's last answer; the worker ends before the service goes.
    Service(EventLoop& loop, Worker& worker) : loop_(loop), worker_(worker) {}

    /// Makes the node on the worker's thread. Nothing may be asked before `done`.
    void open(MakeNode make, runtime::OnResult<void> done);
    /// Answers what was asked so far, ends all front ends, then calls `done`. What is asked
    /// meanwhile is Unavailable.
    void stop(Node::Ending ending, std::move_only_function<void()> done);

    void create(api::VolumeSpec volume, runtime::OnResult<void> done) override;
    void attach(std::string name, api::AttachSpec how,
                runtime::OnResult<std::string> done) override;
    void detach(std::string name, runtime::OnResult<void> done) override;
    void resize(std::string name, Bytes capacity, runtime::OnResult<void> done) override;
    void snapshot(std::string name, Fd file, runtime::OnResult<void> done) override;
    void restore(std::string name, Fd file, runtime::OnResult<void> done) override;
    void remove(std::string name, runtime::OnResult<void> done) override;
    void list(runtime::OnResult<std::vector<api::VolumeInfo>> done) override;
    void stats(runtime::OnResult<api::StorageStats> done) override;

    /// The cold tier, for the daemon itself: as ZramStore's.
    void mark_idle(runtime::OnResult<void> done);
    void compact_idle(Pages budget, runtime::OnResult<ZramCompaction> done);

private:
    template <typename T, typename Work>
    void perform(runtime::OnResult<T> done, Work work);

    EventLoop& loop_;
    Worker& worker_;
    std::unique_ptr<Node> node_;  // the worker's
    std::size_t waiting_ = 0;
    bool is_stopping_ = false;
};

}  // namespace pepita::storage::daemon
