#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "runtime/state.h"
#include "runtime/task_api.h"
#include "shim/isolation.h"
#include "shim/options.h"
#include "shim/pod_directory.h"
#include "shim/process_io.h"
#include "shim/sandbox.h"

namespace pepita::shim {

/// One pod: a microVM, the container in it, and the processes exec'ed into that. The states and
/// who changes them: README.md. Thread: that of `loop`.
class Pod : public runtime::TaskService {
public:
    struct Callbacks {
        std::move_only_function<void(Fd)> on_client;  // one more, on <root>/<id>/shim.sock
        std::move_only_function<void()> on_over;      // is_over() or is_useless() became true
    };
    Pod(EventLoop& loop, Options options, Callbacks callbacks);
    ~Pod() override;

    /// Whether nothing is left that must outlive the clients.
    bool is_over() const { return phase_ == Phase::Empty || phase_ == Phase::Removed; }

    /// Whether there is nothing to stay for even while clients are connected: shutdown was asked
    /// for, or the one container this shim is for could not be made.
    bool is_useless() const { return is_over() && is_ending_; }

    void create(runtime::TaskCreate request, runtime::OnResult<std::uint32_t> done) override;
    void start(runtime::ProcessId process, runtime::OnResult<runtime::TaskStarted> done) override;
    void exec(runtime::TaskExec request, runtime::OnResult<void> done) override;
    void state(runtime::ProcessId process, runtime::OnResult<runtime::TaskState> done) override;
    void kill(runtime::ProcessId process, std::uint32_t signal, bool all,
              runtime::OnResult<void> done) override;
    void wait(runtime::ProcessId process, runtime::OnResult<runtime::TaskExit> done) override;
    void resize(runtime::ProcessId process, runtime::WindowSize size,
                runtime::OnResult<void> done) override;
    void close_stdin(runtime::ProcessId process, runtime::OnResult<void> done) override;
    void remove(runtime::ProcessId process, runtime::OnResult<runtime::TaskExit> done) override;
    void shutdown(bool now, runtime::OnResult<void> done) override;

private:
    /// Live: the guest answers. Down: it is gone, and the container stopped, but not deleted.
    enum class Phase : std::uint8_t { Empty, Creating, Live, Down, Removing, Removed };

    struct Process {
        runtime::TaskStatus status = runtime::TaskStatus::Created;
        runtime::Terminal terminal = runtime::Terminal::No;
        std::uint32_t proxy_pid = 0;
        std::uint32_t exit_status = 0;
        std::string failure;  // why exit_status is none of the program's own
        std::unique_ptr<ProcessIo> io;
        std::vector<runtime::OnResult<runtime::TaskExit>> waiters;
    };

    Result<void> begin_create(runtime::TaskCreate request);
    Result<std::unique_ptr<ProcessIo>> open_io(const runtime::ProcessId& id, runtime::TaskIo io,
                                               runtime::WindowSize window);
    void create_in_guest();
    void attach(const runtime::ProcessId& id, Result<runtime::StreamNumbers> numbers,
                runtime::OnResult<void> done);
    void end_create(Result<void> created);
    void on_down(const std::string& reason);
    void on_exit(const runtime::ProcessId& id, std::uint32_t status, const std::string& failure);
    void answer_waiters(Process& process);
    void end_remove();
    Result<Process*> find(const runtime::ProcessId& id);
    /// The process, where the guest can be asked about it.
    Result<Process*> find_live(const runtime::ProcessId& id);
    Result<void> listen();
    void write_state();
    bool make_room();

    EventLoop& loop_;
    Options options_;
    Callbacks callbacks_;
    Phase phase_ = Phase::Empty;
    bool is_ending_ = false;
    Fd listener_;
    EventLoop::Watch listener_watch_;
    std::unique_ptr<PodDirectory> directory_;
    runtime::Bundle bundle_;
    ChosenIsolation isolation_;
    std::string created_at_;
    std::unique_ptr<Sandbox> sandbox_;
    std::map<std::string, Process> processes_;  // by exec id; "" is the container's own
    runtime::OnResult<std::uint32_t> on_created_;
    std::optional<Error> create_error_;
    runtime::OnResult<runtime::TaskExit> on_removed_;
};

}  // namespace pepita::shim
