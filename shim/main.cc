#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/log_json.h"
#include "runtime/task_api.h"
#include "shim/options.h"
#include "shim/pod.h"

namespace {

using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Result;
using pepita::runtime::Channel;

/// The clients of one pod: the one that started the shim, and those that come to its socket.
class Server {
public:
    Server(EventLoop& loop, const pepita::shim::Options& options)
        : loop_(loop),
          pod_(loop, options,
               {.on_client = [this](Fd client) { on_client(std::move(client)); },
                .on_over = [this] { stop_if_idle(); }}) {}

    Result<void> add(Fd socket) {
        const auto place = clients_.emplace(clients_.end());
        *place = TRY(Channel::create(
            loop_, std::move(socket),
            {.on_call = [this](Channel::Call call) { dispatch(pod_, std::move(call)); },
             .on_closed =
                 [this, place](const Error&) {
                     clients_.erase(place);
                     stop_if_idle();
                 }}));
        return {};
    }

private:
    void stop_if_idle() {
        if ((clients_.empty() && pod_.is_over()) || pod_.is_useless()) {
            loop_.stop();
        }
    }

    void on_client(Fd client) {
        if (const Result<void> added = add(std::move(client)); !added) {
            pepita::log::warn("a client was turned away", {{"error", added.error().message()}});
        }
    }

    EventLoop& loop_;
    std::list<std::shared_ptr<Channel>> clients_;
    pepita::shim::Pod pod_;
};

Result<void> log_to(const std::string& path) {
    const Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
    if (!file) {
        return Error::from_errno(errno, "open log '" + path + "'");
    }
    if (::dup2(file.ref().number(), STDERR_FILENO) == -1) {
        return Error::from_errno(errno, "dup2");
    }
    return {};
}

Result<void> run(std::span<char* const> arguments) {
    pepita::shim::Options options = TRY(pepita::shim::parse_options(arguments));
    if (options.vmm.empty()) {
        options.vmm = TRY(pepita::shim::find_vmm());
    }
    if (!options.log.empty()) {
        TRY(log_to(options.log));
    }
    if (options.logs_json) {
        pepita::log::use(pepita::runtime::log_json);
    }
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto loop = TRY(EventLoop::create());
    Server server(*loop, options);
    Fd first(options.channel_fd);
    TRY(pepita::set_nonblocking(first.ref()));
    TRY(server.add(std::move(first)), "channel");
    return loop->run();
}

}  // namespace

int main(int argc, char** argv) {
    const Result<void> ran =
        run(std::span<char* const>(argv, static_cast<std::size_t>(argc)).subspan(1));
    if (!ran) {
        pepita::log::error("pepita-shim gave up", {{"error", ran.error().message()}});
        return 1;
    }
    return 0;
}
