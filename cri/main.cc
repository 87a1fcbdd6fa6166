#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cri/cni.h"
#include "cri/directories.h"
#include "cri/dispatch.h"
#include "cri/grpc_server.h"
#include "cri/image_service.h"
#include "cri/options.h"
#include "cri/runtime_service.h"
#include "cri/streaming.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/log_json.h"
#include "storage/image_store.h"

namespace {

using pepita::Code;
using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Result;
using namespace pepita::cri;  // NOLINT(google-build-using-namespace): it is all of this program

/// SIGTERM and SIGINT as a descriptor: before there are threads, which inherit that they wait.
Result<Fd> end_signals() {
    sigset_t signals;
    (void)::sigemptyset(&signals);
    (void)::sigaddset(&signals, SIGTERM);
    (void)::sigaddset(&signals, SIGINT);
    if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) {
        return Error::from_errno(errno, "sigprocmask");
    }
    Fd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) {
        return Error::from_errno(errno, "signalfd");
    }
    return fd;
}

/// Two of us would not know of each other's pods.
Result<Fd> lock(const std::string& state) {
    constexpr mode_t mode = 0600;
    const std::string path = state + "/lock";
    Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, mode));
    if (!file) {
        return Error::from_errno(errno, "open '" + path + "'");
    }
    if (::flock(file.ref().number(), LOCK_EX | LOCK_NB) != 0) {
        return Error(Code::FailedPrecondition, "'" + state + "' is another pepita-cri's");
    }
    return file;
}

Cni::Options cni_options(const Options& options) {
    Cni::Options cni;
    cni.config_directory = options.cni_configuration;
    if (!options.cni_plugins.empty()) {
        cni.plugin_directories = {options.cni_plugins};
    }
    cni.cache_directory = options.cni_cache;
    return cni;
}

Result<void> serve(const Options& options) {
    if (options.logs_json) {
        pepita::log::use(pepita::runtime::log_json);
    }
    (void)::umask(0022);
    pepita::reset_signals();
    pepita::reset_limits();
    (void)::signal(SIGPIPE, SIG_IGN);
    const Fd signals = TRY(end_signals());
    const auto loop = TRY(EventLoop::create());
    const auto images = TRY(pepita::storage::ImageStore::open(options.runtime.images));
    Cni cni(*loop, cni_options(options));
    TRY(make_directories(options.runtime.state));
    TRY(make_directories(std::filesystem::path(options.socket).parent_path()));
    const Fd locked = TRY(lock(options.runtime.state));
    const auto runtime = TRY(RuntimeService::create(*loop, options.runtime, cni, *images));
    StreamingServer::Options stream_options;
    stream_options.address = options.stream_address;
    stream_options.port = options.stream_port;
    const auto streaming =
        TRY(StreamingServer::create(*loop, *runtime, std::move(stream_options)), "streaming");
    runtime->use(*streaming);
    ImageService image_service(*loop, *images,
                               {.store = options.runtime.images,
                                .hosts_directory = options.registry_hosts,
                                .containers = ""});
    const Services services{.runtime = *runtime, .images = image_service};
    const auto server =
        TRY(GrpcServer::create(*loop, {.socket = options.socket}, [&services](GrpcCall call) {
            dispatch(services, std::move(call));
        }));
    const auto watch = TRY(
        loop->watch(signals.ref(), EPOLLIN, [&loop](std::uint32_t /*events*/) { loop->stop(); }));
    pepita::log::info("CRI is served", {{"socket", options.socket}});
    return loop->run();
}

void print(const std::string& text) {
    (void)pepita::write_all(pepita::FdRef(STDOUT_FILENO), text, "standard output").has_value();
}

int fail(int status, const Error& error) {
    pepita::log::error("pepita-cri gave up", {{"error", error.message()}});
    return status;
}

}  // namespace

int main(int argc, char** argv) {
    const std::span<char*> all(argv, static_cast<std::size_t>(argc));
    const std::vector<std::string> arguments(all.begin() + (argc > 0 ? 1 : 0), all.end());
    Result<Options> options = parse_options(arguments);
    if (!options) {
        return fail(2, options.error());
    }
    if (options->action == Options::Action::Help) {
        print(help_text());
        return 0;
    }
    if (options->action == Options::Action::Version) {
        print("pepita-cri " PEPITA_VERSION "\n");
        return 0;
    }
    options->runtime.version = PEPITA_VERSION;
    const Result<void> served = serve(*options);
    return served ? 0 : fail(1, served.error());
}
