#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/container.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/channel.h"
#include "shim/clock.h"
#include "shim/microvm.h"

namespace pepita::test {

/// A clock that stands still until a test moves it.
class FakeClock final : public shim::Clock {
public:
    std::unique_ptr<Deadline> after(std::chrono::milliseconds delay, Task task) override {
        const std::uint64_t key = next_++;
        tasks_.emplace(key, Pending{.when = now_ + delay, .task = std::move(task)});
        return std::make_unique<Held>(tasks_, key);
    }
    void advance(std::chrono::milliseconds by) {
        now_ += by;
        std::vector<Task> due;
        for (auto entry = tasks_.begin(); entry != tasks_.end();) {
            if (entry->second.when > now_) {
                ++entry;
                continue;
            }
            due.push_back(std::move(entry->second.task));
            entry = tasks_.erase(entry);
        }
        for (Task& task : due) {
            task();
        }
    }

private:
    struct Pending {
        std::chrono::milliseconds when;
        Task task;
    };
    class Held final : public Deadline {
    public:
        Held(std::map<std::uint64_t, Pending>& tasks, std::uint64_t key)
            : tasks_(tasks), key_(key) {}
        Held(const Held&) = delete;
        Held& operator=(const Held&) = delete;
        Held(Held&&) = delete;
        Held& operator=(Held&&) = delete;
        ~Held() override { tasks_.erase(key_); }

    private:
        std::map<std::uint64_t, Pending>& tasks_;
        std::uint64_t key_;
    };

    std::chrono::milliseconds now_{0};
    std::uint64_t next_ = 0;
    std::map<std::uint64_t, Pending> tasks_;
};

/// A pepita-init whose processes are entries of a table.
class FakeGuest final : public runtime::GuestService {
public:
    void describe(runtime::OnResult<runtime::GuestDescription> done) override {
        done(runtime::GuestDescription{.version = "1.2.3", .kernel_release = "6.12-test"});
    }
    void create(runtime::ContainerSpec spec,
                runtime::OnResult<runtime::StreamNumbers> done) override {
        const runtime::ProcessId id{.container = spec.id, .exec = ""};
        specs[spec.id] = std::move(spec);
        auto answer = [this, id, done = std::move(done)]() mutable {
            if (create_error) {
                return done(Error(Code::Internal, *create_error));
            }
            processes[id];
            done(runtime::StreamNumbers());
        };
        if (holds_create) {
            held_creates.emplace_back(std::move(answer));
        } else {
            answer();
        }
    }
    void start(runtime::ProcessId id, runtime::OnResult<runtime::Started> done) override {
        processes.at(id).is_running = true;
        if (holds_start) {
            held_starts.push_back(std::move(done));
            return;
        }
        done(runtime::Started{.pid = 7, .exec_errno = 0});
    }
    void exec(runtime::ProcessId id, runtime::ProcessSpec /*spec*/,
              runtime::OnResult<runtime::StreamNumbers> done) override {
        processes[id];
        done(runtime::StreamNumbers());
    }
    void signal(runtime::ProcessId id, std::uint32_t number, bool /*all*/,
                runtime::OnResult<void> done) override {
        signals.emplace_back(id, number);
        if (number == 9) {
            exit(id, 137);
        }
        done({});
    }
    void wait(runtime::ProcessId id, runtime::OnResult<std::uint32_t> done) override {
        processes.at(id).waiters.push_back(std::move(done));
    }
    void resize(runtime::ProcessId /*id*/, runtime::WindowSize /*window*/,
                runtime::OnResult<void> done) override {
        done({});
    }
    void close_stdin(runtime::ProcessId /*id*/, runtime::OnResult<void> done) override { done({}); }
    void remove(runtime::ProcessId id, runtime::OnResult<void> done) override {
        std::erase_if(processes, [&id](const auto& entry) {
            return entry.first == id || (id.exec.empty() && entry.first.container == id.container);
        });
        removed.push_back(std::move(id));
        done({});
    }
    void shutdown(runtime::OnResult<void> done) override { done({}); }
    void rescan(runtime::OnResult<void> done) override {
        ++rescans;
        if (rescan_error) {
            return done(Error(Code::Internal, *rescan_error));
        }
        done({});
    }
    void release(runtime::DiskId disk, runtime::OnResult<void> done) override {
        released.push_back(disk.serial);
        if (release_error && releases_refused-- > 0) {
            return done(Error(*release_error, "the test says so"));
        }
        done({});
    }
    void user(std::string container, runtime::OnResult<runtime::UserIds> done) override {
        const std::uint32_t uid = specs.at(container).process.uid;
        done(runtime::UserIds{.uid = uid, .gid = 100, .groups = {}});
    }
    void stats(std::string /*container*/,
               runtime::OnResult<runtime::ContainerStats> done) override {
        done(stats_now);
    }
    void pause(std::string container, runtime::OnResult<void> done) override {
        paused.push_back(std::move(container));
        answer_pause(std::move(done));
    }
    void resume(std::string container, runtime::OnResult<void> done) override {
        resumed.push_back(std::move(container));
        answer_pause(std::move(done));
    }
    void update(std::string container, runtime::ResourcesSpec resources,
                runtime::OnResult<void> done) override {
        updated[std::move(container)] = std::move(resources);
        answer_pause(std::move(done));
    }
    void configure_network(runtime::NetworkConfig /*config*/,
                           runtime::OnResult<void> done) override {
        done({});
    }
    void adjust_clock(std::chrono::nanoseconds offset,
                      runtime::OnResult<std::chrono::nanoseconds> done) override {
        done(offset);
    }
    void dial(std::uint16_t port, runtime::OnResult<std::uint64_t> done) override {
        dialed = port;
        if (dial_error) {
            return done(Error(Code::Unavailable, *dial_error));
        }
        done(kDialed);
    }

    void answer_pause(runtime::OnResult<void> done) const {
        if (pause_error) {
            return done(Error(Code::DeadlineExceeded, *pause_error));
        }
        done({});
    }

    /// A process exits by itself.
    void exit(const runtime::ProcessId& id, std::uint32_t status) {
        processes.at(id).is_running = false;
        for (auto& waiter : std::exchange(processes.at(id).waiters, {})) {
            waiter(status);
        }
    }
    void answer_starts() {
        for (auto& done : std::exchange(held_starts, {})) {
            done(runtime::Started{.pid = 7, .exec_errno = 0});
        }
    }
    void answer_creates() {
        for (auto& answer : std::exchange(held_creates, {})) {
            answer();
        }
    }

    struct Process {
        bool is_running = false;
        std::vector<runtime::OnResult<std::uint32_t>> waiters;
    };
    std::map<runtime::ProcessId, Process> processes;
    std::map<std::string, runtime::ContainerSpec> specs;
    std::vector<std::pair<runtime::ProcessId, std::uint32_t>> signals;
    std::vector<runtime::ProcessId> removed;
    std::optional<std::string> create_error;
    std::vector<std::string> paused;
    std::vector<std::string> resumed;
    std::map<std::string, runtime::ResourcesSpec> updated;
    std::optional<std::string> pause_error;  // of update, too
    runtime::ContainerStats stats_now;
    static constexpr std::uint64_t kDialed = 42;
    std::uint16_t dialed = 0;
    std::optional<std::string> dial_error;
    int rescans = 0;
    std::optional<std::string> rescan_error;
    std::vector<std::string> released;  // by serial
    std::optional<Code> release_error;  // of so many calls:
    int releases_refused = 0;
    bool holds_start = false;
    std::vector<runtime::OnResult<runtime::Started>> held_starts;
    bool holds_create = false;
    std::vector<std::move_only_function<void()>> held_creates;
};

/// The machine of a FakeMicrovm: what a test sees of it and does to it. It outlives the microVM.
struct FakeMachine {
    explicit FakeMachine(EventLoop& on_loop) : loop(on_loop) {}

    void boot() { callbacks->on_boot(); }
    void come_up() {
        boot();
        is_up = true;
        callbacks->on_up();
    }
    void end(const std::string& reason) {
        is_up = false;
        // The callback is given up in the call.
        auto on_down = std::move(callbacks->on_down);
        callbacks.reset();
        on_down(reason);
    }

    EventLoop& loop;
    FakeGuest guest;
    std::optional<shim::Microvm::Callbacks> callbacks;  // while the microVM exists
    std::optional<shim::RootSource> first_root;
    std::string network;
    std::vector<shim::RootSource> added_roots;
    std::vector<std::string> removed_roots;  // by serial
    std::optional<std::string> add_root_error;
    std::optional<std::string> remove_root_error;
    std::optional<std::string> start_error;
    std::optional<std::string> stream_error;
    shim::Microvm::Connected connected;  // what the next streams are; none after that
    runtime::StreamNumbers connected_numbers;
    bool is_up = false;
    bool powers_off = true;
    int shutdowns = 0;
    std::vector<std::string> kills;
};

class FakeMicrovm final : public shim::Microvm {
public:
    explicit FakeMicrovm(FakeMachine& machine) : machine_(machine) {
        auto [ours, theirs] = *socket_pair();
        client_ = *runtime::Channel::create(machine.loop, std::move(ours), {});
        server_ = *runtime::Channel::create(machine.loop, std::move(theirs),
                                            {.on_call =
                                                 [&machine](runtime::Channel::Call call) {
                                                     dispatch(machine.guest, std::move(call));
                                                 },
                                             .on_closed = {}});
        guest_ = std::make_unique<runtime::GuestClient>(client_);
    }
    FakeMicrovm(const FakeMicrovm&) = delete;
    FakeMicrovm& operator=(const FakeMicrovm&) = delete;
    FakeMicrovm(FakeMicrovm&&) = delete;
    FakeMicrovm& operator=(FakeMicrovm&&) = delete;
    ~FakeMicrovm() override {
        machine_.callbacks.reset();
        server_->close();
        client_->close();
    }

    static auto starter(FakeMachine& machine) {
        return [&machine](EventLoop& /*loop*/, const shim::MicrovmConfig& config,
                          Callbacks callbacks) -> Result<std::unique_ptr<Microvm>> {
            if (machine.start_error) {
                return Error(Code::Internal, *machine.start_error);
            }
            machine.callbacks = std::move(callbacks);
            machine.first_root = config.root;
            machine.network = config.network;
            return std::make_unique<FakeMicrovm>(machine);
        };
    }

    runtime::GuestClient& guest() override { return *guest_; }
    void connect_streams(const runtime::StreamNumbers& numbers,
                         runtime::OnResult<Connected> done) override {
        machine_.connected_numbers = numbers;
        if (machine_.stream_error) {
            return done(Error(Code::Unavailable, *machine_.stream_error));
        }
        done(std::exchange(machine_.connected, Connected()));
    }
    void add_root(const shim::RootSource& root, runtime::OnResult<shim::RootDisks> done) override {
        machine_.added_roots.push_back(root);
        if (machine_.add_root_error) {
            return done(Error(Code::ResourceExhausted, *machine_.add_root_error));
        }
        shim::RootDisks disks{.root_serial = "root" + std::to_string(machine_.added_roots.size())};
        for (const runtime::ImageRoot& volume : root.volumes) {
            disks.volumes[volume.id] = "volume" + std::to_string(disks.volumes.size());
        }
        done(std::move(disks));
    }
    void remove_root(const shim::RootDisks& disks, runtime::OnResult<void> done) override {
        machine_.removed_roots.push_back(disks.root_serial);
        if (machine_.remove_root_error) {
            return done(Error(Code::DeadlineExceeded, *machine_.remove_root_error));
        }
        done({});
    }
    int pid() const override { return 0; }
    void shut_down() override {
        ++machine_.shutdowns;
        if (machine_.powers_off) {
            machine_.loop.post([&machine = machine_] { machine.end("the guest powered off"); });
        }
    }
    void kill(const std::string& reason) override {
        machine_.kills.push_back(reason);
        machine_.loop.post([&machine = machine_, reason] { machine.end(reason); });
    }

private:
    FakeMachine& machine_;
    std::shared_ptr<runtime::Channel> client_;
    std::shared_ptr<runtime::Channel> server_;
    std::unique_ptr<runtime::GuestClient> guest_;
};

}  // namespace pepita::test
