#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "cri/cni.h"
#include "cri/directories.h"
#include "cri/dispatch.h"
#include "cri/grpc_server.h"
#include "cri/image_service.h"
#include "cri/metrics_server.h"
#include "cri/node_metrics.h"
#include "cri/options.h"
#include "cri/runtime_service.h"
#include "cri/streaming.h"
#include "cri/streaming/http_server.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"
#include "runtime/rpc/log_json.h"
#include "storage/image_store.h"

namespace {

using pepita::Code;
using pepita::Error;
using pepita::EventLoop;
using pepita::Fd;
using pepita::Result;
using namespace pepita::cri;  // NOLINT(google-build-using-namespace): it is all of this program

/// SIGTERM, SIGINT and SIGHUP as a descriptor: before there are threads, which inherit that they
/// wait.
Result<Fd> open_signals() {
    sigset_t signals;
    (void)::sigemptyset(&signals);
    (void)::sigaddset(&signals, SIGTERM);
    (void)::sigaddset(&signals, SIGINT);
    (void)::sigaddset(&signals, SIGHUP);
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

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        text.append(text.empty() ? "" : ", ").append(word);
    }
    return text;
}

/// Reads the configuration again. One that cannot be used changes nothing.
void reload(const std::vector<std::string>& arguments, const Options& started, Options& running,
            RuntimeService& runtime) {
    Result<Options> next = parse_options(arguments);
    if (!next) {
        return pepita::log::error("the configuration stays as it was",
                                  {{"error", next.error().message()}});
    }
    runtime.reconfigure(next->runtime);
    if (const auto waiting = changes(started, *next).restart; !waiting.empty()) {
        pepita::log::warn("changes of these options wait for a restart",
                          {{"options", joined(waiting)}});
    }
    pepita::log::info("the configuration was read again",
                      {{"changed", joined(changes(running, *next).live)}});
    running = *std::move(next);
}

/// What Prometheus reads, where it is served.
class MetricsPlace {
public:
    MetricsPlace(NodeMetrics& metrics, const RuntimeService& runtime, ImageService& images)
        : metrics_(metrics), runtime_(runtime), images_(images) {}
    MetricsPlace(const MetricsPlace&) = delete;
    MetricsPlace& operator=(const MetricsPlace&) = delete;
    MetricsPlace(MetricsPlace&&) = delete;
    MetricsPlace& operator=(MetricsPlace&&) = delete;
    ~MetricsPlace() = default;

    Result<void> serve(EventLoop& loop, const std::string& place) {
        measure_images();
        server_ = TRY(serve_metrics(loop, place, [this] {
            measure_images();
            NodeCensus census = runtime_.census();
            census.image_bytes = *image_bytes_;
            return metrics_.text(census);
        }));
        pepita::log::info("metrics are served", {{"place", server_->base_url()}});
        return {};
    }

private:
    /// Reading directories blocks, so the answer is for the next time.
    void measure_images() {
        images_.image_fs_info({},
                              [bytes = image_bytes_](const Result<v1::ImageFsInfoResponse>& info) {
                                  if (info && info->image_filesystems_size() > 0) {
                                      *bytes = info->image_filesystems(0).used_bytes().value();
                                  }
                              });
    }

    NodeMetrics& metrics_;
    const RuntimeService& runtime_;
    ImageService& images_;
    std::shared_ptr<std::uint64_t> image_bytes_ =
        std::make_shared<std::uint64_t>();  // answers outlive this
    std::unique_ptr<HttpServer> server_;
};

/// Has a call answered, and counts it.
void answer(const Services& services, NodeMetrics& metrics, GrpcCall call) {
    call.on_finish([&metrics, method = call.method(),
                    begun = std::chrono::steady_clock::now()](const Result<void>& result) {
        metrics.observe_call(method, result, std::chrono::steady_clock::now() - begun);
    });
    dispatch(services, std::move(call));
}

Result<void> serve(Options options, const std::vector<std::string>& arguments) {
    options.runtime.version = PEPITA_VERSION;
    if (options.runtime.log_format == pepita::runtime::LogFormat::Json) {
        pepita::log::use(pepita::runtime::log_json);
    }
    (void)::umask(0022);
    pepita::reset_signals();
    pepita::reset_limits();
    (void)::signal(SIGPIPE, SIG_IGN);
    const Fd signals = TRY(open_signals());
    const auto loop = TRY(EventLoop::create());
    NodeMetrics metrics(options.runtime.version);
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
    runtime->use(metrics);
    ImageService image_service(*loop, *images,
                               {.store = options.runtime.images,
                                .hosts_directory = options.registry_hosts,
                                .containers = ""});
    const Services services{.runtime = *runtime, .images = image_service};
    Options running = options;
    MetricsPlace metrics_place(metrics, *runtime, image_service);
    if (!options.metrics.empty()) {
        TRY(metrics_place.serve(*loop, options.metrics));
    }
    const auto server =
        TRY(GrpcServer::create(*loop, {.socket = options.socket},
                               [&](GrpcCall call) { answer(services, metrics, std::move(call)); }));
    const auto watch = TRY(loop->watch(signals.ref(), EPOLLIN, [&](std::uint32_t /*events*/) {
        signalfd_siginfo signal{};
        if (::read(signals.ref().number(), &signal, sizeof(signal)) != sizeof(signal)) {
            return;
        }
        if (signal.ssi_signo == SIGHUP) {
            return reload(arguments, options, running, *runtime);
        }
        loop->stop();
    }));
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
    const Result<void> served = serve(*std::move(options), arguments);
    return served ? 0 : fail(1, served.error());
}
