#include "storage/daemon/daemon.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/metrics.h"
#include "storage/daemon/node.h"
#include "storage/daemon/options.h"
#include "storage/daemon/server.h"
#include "storage/daemon/service.h"
#include "storage/daemon/store_backing.h"
#include "storage/daemon/ublk_exporter.h"
#include "storage/daemon/vhost_user_exporter.h"
#include "storage/daemon/worker.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

constexpr std::chrono::seconds kMetricsPeriod{15};
constexpr Pages kColdStep(256);
constexpr mode_t kPrivate = 0700;
constexpr mode_t kReadable = 0644;  // node_exporter is another user

/// Those that are missing, and nobody else's: who can open a directory can lock it, too.
Result<void> make_directories(const std::string& path) {
    std::error_code error;
    (void)std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (error || (::mkdir(path.c_str(), kPrivate) != 0 && errno != EEXIST)) {
        return Error::from_errno(error ? error.value() : errno, "make directory '" + path + "'");
    }
    return {};
}

/// Others fill the file system too: what is promised here is not set aside.
void warn_if_scarce(const std::string& memory_file, Bytes limit) {
    const Result<std::optional<Bytes>> known = room_of(memory_file);
    if (!known) {
        log::warn("cannot see how much room the memory file has",
                  {{"error", known.error().message()}});
        return;
    }
    const Bytes room = known->value_or(limit);
    if (room < limit) {
        log::warn("the memory file has less room than its limit: volumes will be full before that",
                  {{"memory", memory_file}, {"room", room.value()}, {"limit", limit.value()}});
    }
}

/// Writes the numbers where somebody collects them.
Result<void> replace_metrics(const std::string& path, const api::StorageStats& stats,
                             const std::vector<api::VolumeInfo>& volumes) {
    return replace_file(FdRef(AT_FDCWD), path, prometheus_text(stats, volumes), kReadable);
}

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::create(EventLoop& loop, Options options) {
    std::unique_ptr<Daemon> daemon(new Daemon(loop, std::move(options)));
    TRY(daemon->take_places());
    daemon->worker_ = TRY(Worker::start());
    daemon->service_ = std::make_unique<Service>(loop, *daemon->worker_);
    Daemon* const self = daemon.get();
    daemon->service_->open([self] { return self->make_node(); },
                           [self](Result<void> opened) { self->on_open(std::move(opened)); });
    return daemon;
}

Result<void> Daemon::take_places() {
    for (const std::string& path :
         {directory_of(options_.socket), directory_of(options_.memory_file), options_.state}) {
        TRY(make_directories(path));
    }
    socket_lock_ = TRY(take_lock(options_.socket + ".lock"));
    memory_lock_ = TRY(take_lock(options_.memory_file + ".lock"));
    state_lock_ = TRY(take_lock(options_.state + "/lock"));
    return {};
}

/// On the worker's thread.
Result<std::unique_ptr<Node>> Daemon::make_node() const {
    auto store = TRY(open_store(options_.memory_file, options_.memory_limit));
    warn_if_scarce(options_.memory_file, store->use().limit);
    Node::Parts parts{.backing = std::make_unique<StoreBacking>(std::move(store)),
                      .exporters = {},
                      .state = TRY(open_file(options_.state.c_str(), O_RDONLY | O_DIRECTORY))};
    parts.exporters[api::FrontEnd::VhostUser] =
        std::make_unique<VhostUserExporter>(directory_of(options_.socket));
    parts.exporters[api::FrontEnd::Ublk] =
        std::make_unique<UblkExporter>(TRY(ublk_mark(parts.state.ref()), options_.state));
    return Node::open(std::move(parts));
}

void Daemon::on_open(Result<void> opened) {
    if (is_stopping_) {
        return;
    }
    Result<std::unique_ptr<Server>> server =
        opened ? Server::listen(loop_, options_.socket, *service_) : std::move(opened).error();
    if (!server) {
        result_ = std::move(server).error();
        return stop();
    }
    server_ = *std::move(server);
    log::info("serving", {{"socket", options_.socket}, {"memory", options_.memory_file}});
    if (!options_.metrics.empty()) {
        write_metrics();
    }
    if (options_.cold_after.count() != 0) {
        mark_idle();
    }
}

void Daemon::write_metrics() {
    metrics_ = loop_.after(kMetricsPeriod, [this] { write_metrics(); });
    service_->stats([this](Result<api::StorageStats> stats) {
        if (!stats) {
            return;  // the daemon is ending, or busy: the next will do
        }
        service_->list(
            [this, stats = *std::move(stats)](Result<std::vector<api::VolumeInfo>> volumes) {
                if (!volumes) {
                    return;
                }
                const Result<void> written = replace_metrics(options_.metrics, stats, *volumes);
                if (!written) {
                    log::warn("metrics were not written, trying again",
                              {{"error", written.error().message()}});
                }
            });
    });
}

/// What has its mark still when the time is over is cold.
void Daemon::mark_idle() {
    service_->mark_idle([](const Result<void>&) {});
    cold_ = loop_.after(options_.cold_after, [this] { compact_idle(); });
}

/// In small steps: the calls of clients come between them.
void Daemon::compact_idle() {
    service_->compact_idle(kColdStep, [this](Result<ZramCompaction> done) {
        if (is_stopping_) {
            return;
        }
        if (!done) {
            log::warn("idle pages stay as they are, trying again",
                      {{"error", done.error().message()}});
            return mark_idle();
        }
        if (done->is_done) {
            return mark_idle();
        }
        cold_ = loop_.after(std::chrono::nanoseconds(0), [this] { compact_idle(); });
    });
}

void Daemon::stop() {
    if (is_stopping_) {
        return;
    }
    is_stopping_ = true;
    if (server_) {
        server_->close();
    }
    metrics_.cancel();
    cold_.cancel();
    service_->stop(options_.purge ? Node::Ending::Purge : Node::Ending::Leave, [this] {
        if (options_.purge && result_.has_value() && ::unlink(options_.memory_file.c_str()) != 0 &&
            errno != ENOENT) {
            result_ = Error::from_errno(errno, "remove '" + options_.memory_file + "'");
        }
        log::info("ended", {{"purged", options_.purge ? "yes" : "no"}});
        loop_.stop();
    });
}

}  // namespace pepita::storage::daemon
