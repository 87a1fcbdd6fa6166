#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory_file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"
#include "shim/jail.h"
#include "shim/machine.h"
#include "shim/machine_plan.h"
#include "vmm/device_config.h"
#include "vmm/host/kernel_cache.h"

// Disks are attached to, resized in and detached from a Linux guest while it runs; it is paused and
// resumed. The guest (hotplug.py) carries out orders that it reads from a disk, and answers on its
// console.

namespace pepita::shim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kDiskSize = std::uint64_t{4} << 20U;
constexpr seconds kPatience(180);

[[noreturn]] void fail(const std::string& why, const std::string& console) {
    (void)std::fprintf(stderr, "FAILED: %s\nconsole:\n%s\n", why.c_str(), console.c_str());
    std::_Exit(1);
}

Fd temporary_file(std::uint64_t size) {
    std::string name = "/var/tmp/pepita-hotplug-XXXXXX";
    Fd file(::mkostemp(name.data(), O_CLOEXEC));
    (void)::unlink(name.c_str());
    if (!file || ::ftruncate(file.ref().number(), static_cast<off_t>(size)) != 0) {
        fail("no temporary file", "");
    }
    return file;
}

std::size_t entries_of(const std::string& directory) {
    std::error_code none;
    const std::filesystem::directory_iterator entries(directory, none);
    return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

/// What a process has open, and its threads.
struct Census {
    std::size_t fds;
    std::size_t threads;
    friend bool operator==(const Census&, const Census&) = default;
};

constexpr JailUser kUser{.id = 0x7000'0001};

vmm::DeviceConfig disk(const std::string& id, const Fd& file) {
    vmm::DeviceConfig device;
    device.id = id;
    device.kind = vmm::DiskConfig{};
    device.fds.push_back({.number = -1, .fd = *duplicate(file.ref())});
    return device;
}

class Scenario {
public:
    Scenario(Isolation isolation, const std::string& vmm, const std::string& guest,
             const std::string& initramfs, const std::string& directory)
        : isolation_(isolation), console_(temporary_file(0)) {
        // QEMU opens it again, as a user of its own.
        (void)::fchmod(console_.ref().number(), 0666);
        MachineWish wish;
        wish.isolation = isolation;
        wish.memory = 256_MiB;
        wish.memory_file = must(create_memory_file("memory", wish.memory));
        (void)::fchown(wish.memory_file.ref().number(), kUser.id, kUser.id);
        wish.kernel = must(vmm::open_vmlinux(guest + "/vmlinuz", directory + "/kernels"));
        wish.initrd = must(open_file(initramfs.c_str(), O_RDONLY));
        const std::string console = "/proc/self/fd/" + std::to_string(console_.ref().number());
        wish.console = must(open_file(console.c_str(), O_WRONLY | O_APPEND));
        wish.devices.push_back(disk("orders", orders_));
        if (isolation == Isolation::Kvm) {
            wish.kvm = must(open_file("/dev/kvm", O_RDWR));
            // So many that the second disk finds no device number of its own.
            for (int i = 0; i < 29; ++i) {
                vmm::DeviceConfig& filler = wish.devices.emplace_back();
                filler.id = "filler" + std::to_string(i);
                filler.kind = vmm::EntropyConfig{};
            }
        }
        machine_ = must(Machine::start(*loop_, plan_machine(std::move(wish)),
                                       {.vmm = vmm,
                                        .qemu = "/usr/bin/qemu-system-x86_64",
                                        .directory = directory + "/jail",
                                        .user = kUser,
                                        .listen = {}},
                                       [this](const MachineEnd& end) { ended_ = end.reason; }));
    }

    void run() {
        wait_for("READY");
        come_and_go("warm");
        const std::vector<Census> before = census();

        const Fd first = temporary_file(kDiskSize);
        const Fd second = temporary_file(kDiskSize);
        attach("first", first);
        attach("second", second);
        order("rescan; check first; check second");
        wait_for("first has 8192 sectors");
        wait_for("second has 8192 sectors");
        expect_written(first, "first");
        expect_written(second, "second");

        (void)::ftruncate(second.ref().number(), 2 * kDiskSize);
        call("resize",
             [this](Machine::OnDone done) { machine_->resize("second", std::move(done)); });
        order(
            "until [ $(cat /sys/block/$(disk second)/size) = 16384 ]; do usleep 10000; done; "
            "check second");
        wait_for("second has 16384 sectors");

        if (isolation_ == Isolation::Kvm) {
            expect_refused("detach a disk in use", [this](Machine::OnDone done) {
                machine_->detach("first", std::move(done));
            });
        }
        pause_and_resume();
        detach("first");
        order("rescan; absent first; check second");
        detach("second");
        for (int i = 0; i < 3; ++i) {
            come_and_go("again");
        }
        if (census() != before) {
            fail("descriptors or threads were left", text());
        }
        machine_->kill();
        wait_until([this] { return ended_.has_value(); }, "the machine's end");
    }

private:
    template <typename T>
    T must(Result<T> result) const {
        if (!result) {
            fail(result.error().message(), text());
        }
        return *std::move(result);
    }
    std::string text() const {
        std::string all(1U << 20U, '\0');
        const ssize_t got = ::pread(console_.ref().number(), all.data(), all.size(), 0);
        all.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return all;
    }
    void wait_until(const std::function<bool()>& claim, const std::string& what) {
        const auto deadline = EventLoop::Clock::now() + kPatience;
        while (!claim()) {
            if (EventLoop::Clock::now() > deadline) {
                fail("waited for " + what, text());
            }
            must_run(milliseconds(20));
        }
    }
    void must_run(milliseconds limit) {
        if (!loop_->run_once(limit).has_value()) {
            fail("the event loop", text());
        }
    }
    /// Behind the last order.
    void wait_for(const std::string& words) {
        wait_until(
            [this, &words] {
                const std::string all = text();
                if (ended_) {
                    fail("the machine ended: " + *ended_, all);
                }
                if (all.find("FAILED") != std::string::npos) {
                    fail("the guest", all);
                }
                return all.find(words, seen_) != std::string::npos;
            },
            "'" + words + "'");
        (void)std::printf("%s\n", words.c_str());
        (void)std::fflush(stdout);
    }
    /// Has the guest do it, and waits until that is done.
    void order(const std::string& what) {
        seen_ = text().size();
        std::string sector = std::to_string(++orders_given_) + " " + what + "\n";
        sector.resize(512);
        if (::pwrite(orders_.ref().number(), sector.data(), sector.size(), 0) != 512) {
            fail("pwrite", text());
        }
        wait_for("DONE " + std::to_string(orders_given_) + ".");
    }
    std::string outcome_of(const std::function<void(Machine::OnDone)>& request) {
        std::optional<std::string> outcome;
        request([&outcome](const Result<void>& done) {
            outcome = done ? "" : "error " + done.error().message();
        });
        wait_until([&outcome] { return outcome.has_value(); }, "a reply");
        return *outcome;
    }
    void call(const std::string& what, const std::function<void(Machine::OnDone)>& request) {
        if (const std::string outcome = outcome_of(request); !outcome.empty()) {
            fail(what + ": " + outcome, text());
        }
    }
    void expect_refused(const std::string& what,
                        const std::function<void(Machine::OnDone)>& request) {
        if (outcome_of(request).empty()) {
            fail(what + " was not refused", text());
        }
    }
    void attach(const std::string& id, const Fd& file) {
        std::optional<Result<std::string>> attached;
        machine_->attach(disk(id, file), [&attached](Result<std::string> done) {
            attached.emplace(std::move(done));
        });
        wait_until([&attached] { return attached.has_value(); }, "attach " + id);
        const std::string address = must(*std::move(attached));
        (void)std::printf("attached %s %s\n", id.c_str(), address.c_str());
    }
    void detach(const std::string& id) {
        order("release " + id);
        call("detach " + id,
             [this, &id](Machine::OnDone done) { machine_->detach(id, std::move(done)); });
    }
    void come_and_go(const std::string& id) {
        const Fd file = temporary_file(kDiskSize);
        attach(id, file);
        order("rescan; check " + id);
        expect_written(file, id);
        detach(id);
    }
    void expect_written(const Fd& file, const std::string& id) const {
        const std::string wanted = "written by " + id;
        std::string words(wanted.size(), '\0');
        (void)::pread(file.ref().number(), words.data(), words.size(), kDiskSize - 512);
        if (words != wanted) {
            fail("what the guest wrote is not in the file", text());
        }
    }
    void pause_and_resume() {
        call("pause", [this](Machine::OnDone done) { machine_->pause(std::move(done)); });
        const std::string before = text();
        const auto until = EventLoop::Clock::now() + seconds(1);  // a tick takes less
        while (EventLoop::Clock::now() < until) {
            must_run(milliseconds(20));
        }
        if (text() != before) {
            fail("a paused guest went on", text());
        }
        call("resume", [this](Machine::OnDone done) { machine_->resume(std::move(done)); });
        wait_until([this, &before] { return text().size() > before.size(); }, "a resumed guest");
        (void)std::printf("paused and resumed\n");
    }
    std::vector<Census> census() const {
        std::vector<Census> all;
        for (const std::string& task :
             {std::to_string(machine_->pid()), std::to_string(machine_->vmm_pid())}) {
            all.push_back({.fds = entries_of("/proc/" + task + "/fd"),
                           .threads = entries_of("/proc/" + task + "/task")});
        }
        return all;
    }

    const Isolation isolation_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd console_;
    Fd orders_ = temporary_file(4096);
    std::uint64_t orders_given_ = 0;
    std::size_t seen_ = 0;
    std::optional<std::string> ended_;
    std::unique_ptr<Machine> machine_;
};

}  // namespace
}  // namespace pepita::shim

int main(int argc, char** argv) {
    using pepita::shim::Isolation;
    const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
    if (arguments.size() != 6) {
        (void)std::fprintf(stderr, "usage: hotplug kvm|tcg PEPITA_VMM GUEST INITRAMFS DIRECTORY\n");
        return 2;
    }
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto isolation =
        std::string_view(arguments[1]) == "kvm" ? Isolation::Kvm : Isolation::Tcg;
    pepita::shim::Scenario scenario(isolation, arguments[2], arguments[3], arguments[4],
                                    arguments[5]);
    scenario.run();
    return 0;
}
