#include "storage/cli/verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "storage/api/storage_api.h"
#include "storage/cli/command_line.h"
#include "storage/cli/link.h"
#include "storage/cli/tables.h"
#include "storage/daemon/metrics.h"

namespace pepita::storage::cli {
namespace {

using api::StorageClient;
using api::StorageStats;
using api::VolumeInfo;

constexpr mode_t kPrivate = 0600;
constexpr std::chrono::seconds kRefresh{1};

Result<int> done(bool is_printed) { return is_printed ? 0 : 1; }

Result<int> done(Result<void> result) {
    TRY(std::move(result));
    return 0;
}

Result<std::vector<VolumeInfo>> ask_list(Link& link) {
    return link.ask<std::vector<VolumeInfo>>(
        [](StorageClient& client, auto answer) { client.list(std::move(answer)); });
}

Result<StorageStats> ask_stats(Link& link) {
    return link.ask<StorageStats>(
        [](StorageClient& client, auto answer) { client.stats(std::move(answer)); });
}

/// A file beside the one that is to be, which takes its place when it is whole.
Result<void> snapshot(Link& link, const std::string& name, const std::string& path) {
    const std::string unfinished = path + ".new";
    const Fd file = TRY(create_temporary(FdRef(AT_FDCWD), unfinished, kPrivate));
    Result<void> written = link.ask<void>([&](StorageClient& client, auto answer) {
        client.snapshot(name, file.ref(), std::move(answer));
    });
    if (written && ::rename(unfinished.c_str(), path.c_str()) != 0) {
        written = Error::from_errno(errno, "rename to '" + path + "'");
    }
    if (!written) {
        (void)::unlink(unfinished.c_str());  // the first error is the one to tell
    }
    return written;
}

Result<void> restore(Link& link, const std::string& name, const std::string& path) {
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    return link.ask<void>([&](StorageClient& client, auto answer) {
        client.restore(name, file.ref(), std::move(answer));
    });
}

Result<int> top(Link& link, bool once) {
    const bool is_live = !once && ::isatty(STDOUT_FILENO) == 1;
    for (;;) {
        const StorageStats stats = TRY(ask_stats(link));
        const std::string view = top_view(stats, TRY(ask_list(link)));
        // From the top left corner on; what the last view had below this one goes.
        if (!print(is_live ? "\x1b[H\x1b[2J" + view : view)) {
            return 1;
        }
        if (!is_live) {
            return 0;
        }
        bool is_due = false;
        const auto timer = link.loop().after(kRefresh, [&is_due] { is_due = true; });
        while (!is_due) {
            TRY(link.loop().run_once(kRefresh));
        }
    }
}

Result<int> report(Link& link, const Command& command) {
    if (command.verb == Verb::List) {
        const std::vector<VolumeInfo> volumes = TRY(ask_list(link));
        return done(
            print(command.format == Format::Json ? api::to_json(volumes) : list_table(volumes)));
    }
    const StorageStats stats = TRY(ask_stats(link));
    if (command.verb == Verb::Metrics) {
        return done(print(daemon::prometheus_text(stats, TRY(ask_list(link)))));
    }
    return done(print(command.format == Format::Json ? api::to_json(stats) : stats_table(stats)));
}

Result<int> attach(Link& link, const Command& command) {
    const std::string path = TRY(link.ask<std::string>([&](StorageClient& client, auto answer) {
        client.attach(command.volume.name, command.attach, std::move(answer));
    }));
    return done(print(path + "\n"));
}

}  // namespace

Result<int> perform(const Command& command) {
    Link link = TRY(Link::connect(command.socket));
    const std::string& name = command.volume.name;
    switch (command.verb) {
        case Verb::Create:
            return done(link.ask<void>([&](StorageClient& client, auto answer) {
                client.create(command.volume, std::move(answer));
            }));
        case Verb::Attach:
            return attach(link, command);
        case Verb::Detach:
            return done(link.ask<void>([&](StorageClient& client, auto answer) {
                client.detach(name, std::move(answer));
            }));
        case Verb::Resize:
            return done(link.ask<void>([&](StorageClient& client, auto answer) {
                client.resize(name, command.capacity, std::move(answer));
            }));
        case Verb::Snapshot:
            return done(snapshot(link, name, command.path));
        case Verb::Restore:
            return done(restore(link, name, command.path));
        case Verb::Delete:
            return done(link.ask<void>([&](StorageClient& client, auto answer) {
                client.remove(name, std::move(answer));
            }));
        case Verb::List:
        case Verb::Stats:
        case Verb::Metrics:
            return report(link, command);
        case Verb::Top:
            return top(link, command.once);
        case Verb::None:
        case Verb::Help:
        case Verb::Version:
            break;
    }
    return Error(Code::Internal, "no command");
}

bool print(std::string_view text) {
    return write_all(FdRef(STDOUT_FILENO), text, "standard output").has_value();
}

}  // namespace pepita::storage::cli
