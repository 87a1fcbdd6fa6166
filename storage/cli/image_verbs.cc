#include "storage/cli/image_verbs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/json.h"
#include "storage/cli/image_command_line.h"
#include "storage/cli/tables.h"
#include "storage/cli/verbs.h"
#include "storage/digest.h"
#include "storage/image_fetch.h"
#include "storage/image_pull.h"
#include "storage/image_store.h"

namespace pepita::storage::cli {
namespace {

using runtime::oci::OrderedJson;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr std::size_t kAuthFileMax = std::size_t{1} << 20U;

/// A bar on standard error while a fetch goes on, where that is a terminal.
class ProgressBar {
public:
    explicit ProgressBar(FetchProgress& progress) : progress_(progress) {
        if (::isatty(STDERR_FILENO) == 1) {
            Result<Thread> thread = Thread::start("progress", [this] { draw(); });
            if (thread) {  // without one there is no bar
                thread_ = std::move(*thread);
            }
        }
    }
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;
    ProgressBar(ProgressBar&&) = delete;
    ProgressBar& operator=(ProgressBar&&) = delete;
    ~ProgressBar() {
        {
            const std::scoped_lock lock(mutex_);
            is_over_ = true;
        }
        changed_.notify_all();
        thread_.join();
    }

private:
    static constexpr std::chrono::milliseconds kTurn{100};
    static constexpr std::size_t kWidth = 30;

    void draw() {
        std::unique_lock lock(mutex_);
        while (!changed_.wait_for(lock, kTurn, [this] { return is_over_; })) {
            write(line());
        }
        write("\r\x1b[K");
    }

    std::string line() const {
        const std::uint64_t layers = progress_.layers.load(std::memory_order_relaxed);
        if (layers == 0) {
            return "\r\x1b[Kreading the manifest";
        }
        const std::uint64_t bytes = progress_.bytes.load(std::memory_order_relaxed);
        const std::uint64_t done =
            std::min(progress_.bytes_done.load(std::memory_order_relaxed), bytes);
        const std::size_t filled =
            bytes == 0 ? kWidth : static_cast<std::size_t>(done * kWidth / bytes);
        return "\r\x1b[K[" + std::string(filled, '#') + std::string(kWidth - filled, ' ') + "] " +
               human(Bytes(done)) + " of " + human(Bytes(bytes)) + ", " +
               std::to_string(progress_.layers_done.load(std::memory_order_relaxed)) + " of " +
               std::to_string(layers) + " layers";
    }

    static void write(std::string_view text) {
        (void)write_all(FdRef(STDERR_FILENO), text, "standard error").has_value();
    }

    FetchProgress& progress_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_over_ = false;
    Thread thread_;
};

OrderedJson to_json(const ImageInfo& info) {
    OrderedJson json = OrderedJson::object();
    json.emplace("id", info.id.text());
    json.emplace("names", info.names);
    OrderedJson layers = OrderedJson::array();
    for (const Digest& layer : info.layers) {
        layers.push_back(layer.text());
    }
    json.emplace("layers", std::move(layers));
    json.emplace("size", info.size.value());
    return json;
}

Result<ImageInfo> required(const ImageStore& store, const std::string& name) {
    auto info = TRY(store.find(name));
    if (!info) {
        // As docker completes it: "busybox" is docker.io/library/busybox:latest.
        if (const Result<std::string> full = full_image_name(name)) {
            info = TRY(store.find(*full));
        }
    }
    if (!info) {
        return Error(Code::NotFound, "there is no image '" + printable(name) + "'");
    }
    return std::move(*info);
}

Result<RegistryAuth> auth_for(const ImageCommand& command) {
    std::string path = command.auth_file;
    if (path.empty()) {
        const char* const home = ::secure_getenv("HOME");
        path = std::string(home == nullptr ? "" : home) + "/.docker/config.json";
        if (::access(path.c_str(), F_OK) != 0) {
            return RegistryAuth{};
        }
    }
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
    const std::string text = TRY(read_all(file.ref(), kAuthFileMax, path));
    return read_docker_config(text, TRY(registry_of(command.images[0])));
}

Result<void> pull(ImageStore& store, const ImageCommand& command) {
    FetchProgress progress;
    PullOptions options{.fetch = TRY(fetch_options(command)),
                        .auth = TRY(auth_for(command)),
                        .hosts_directory = command.hosts};
    options.fetch.progress = &progress;
    const ImageInfo info = TRY([&] {
        const ProgressBar bar(progress);
        return pull_image(store, command.images[0], options);
    }());
    (void)print(info.id.text() + "\n");
    return {};
}

Result<void> import(ImageStore& store, const ImageCommand& command) {
    FetchProgress progress;
    FetchOptions options = TRY(fetch_options(command));
    options.progress = &progress;
    const std::vector<ImageInfo> images = TRY([&] {
        const ProgressBar bar(progress);
        return import_images(store, command.images[0], command.name, options);
    }());
    for (const ImageInfo& info : images) {
        (void)print(info.id.text() + "\n");
    }
    return {};
}

Result<void> list(const ImageStore& store, const ImageCommand& command) {
    const std::vector<ImageInfo> images = TRY(store.list());
    if (command.format == Format::Json) {
        OrderedJson json = OrderedJson::array();
        for (const ImageInfo& info : images) {
            json.push_back(to_json(info));
        }
        (void)print(runtime::oci::dump(json, 2) + "\n");
        return {};
    }
    (void)print(image_table(images));
    return {};
}

Result<void> inspect(const ImageStore& store, const ImageCommand& command) {
    const ImageInfo info = TRY(required(store, command.images[0]));
    const OpenImage open = TRY(store.use(info.id));
    OrderedJson json = to_json(info);
    const std::string manifest = TRY(store.manifest(info.id));
    json.emplace("manifest", OrderedJson(TRY(runtime::oci::parse_json(manifest))));
    json.emplace("config", OrderedJson(TRY(runtime::oci::parse_json(open.config))));
    (void)print(runtime::oci::dump(json, 2) + "\n");
    return {};
}

Result<void> remove(ImageStore& store, const ImageCommand& command) {
    for (const std::string& name : command.images) {
        const ImageInfo info = TRY(required(store, name));
        TRY(store.remove(info.id));
        (void)print(info.id.text() + "\n");
    }
    return {};
}

Result<void> prune(ImageStore& store) {
    for (const ImageInfo& info : TRY(store.prune())) {
        (void)print(info.id.text() + "\n");
    }
    return {};
}

/// A file beside the one that is to be, which takes its place when it is whole.
Result<void> export_to(ImageStore& store, const ImageCommand& command) {
    const ImageInfo info = TRY(required(store, command.images[0]));
    const std::string unfinished = command.output + ".new";
    const Fd file = TRY(create_temporary(FdRef(AT_FDCWD), unfinished, 0600));
    Result<void> written = export_image(store, info.id, file.ref());
    if (written && ::rename(unfinished.c_str(), command.output.c_str()) != 0) {
        written = Error::from_errno(errno, "rename to '" + command.output + "'");
    }
    if (!written) {
        (void)::unlink(unfinished.c_str());
    }
    return written;
}

Result<void> perform(const ImageCommand& command) {
    const auto store = TRY(ImageStore::open(command.root));
    switch (command.verb) {
        case ImageVerb::Pull:
            return pull(*store, command);
        case ImageVerb::List:
            return list(*store, command);
        case ImageVerb::Inspect:
            return inspect(*store, command);
        case ImageVerb::Remove:
            return remove(*store, command);
        case ImageVerb::Prune:
            return prune(*store);
        case ImageVerb::Import:
            return import(*store, command);
        case ImageVerb::Export:
            return export_to(*store, command);
        case ImageVerb::None:
        case ImageVerb::Help:
            break;
    }
    return {};
}

/// "pepita: image pull 'x': MESSAGE", in one line.
void report(const ImageCommand& command, std::string_view message) {
    std::string line = "pepita: image ";
    if (const std::string_view verb = to_string(command.verb); !verb.empty()) {
        line.append(verb);
        line.append(command.images.size() == 1 ? " '" + command.images[0] + "'" : "").append(": ");
    }
    (void)write_all(FdRef(STDERR_FILENO), printable(line.append(message)) + "\n", "standard error")
        .has_value();
}

}  // namespace

int image_main(std::span<const std::string> arguments) {
    ImageCommand command;
    if (const Result<void> parsed = parse_image_command_line(arguments, command); !parsed) {
        report(command, parsed.error().message());
        return kUsage;
    }
    if (command.verb == ImageVerb::Help) {
        return print(image_help_text(command.topic)) ? 0 : kFailed;
    }
    if (const Result<void> done = perform(command); !done) {
        report(command, done.error().message());
        return kFailed;
    }
    return 0;
}

}  // namespace pepita::storage::cli
