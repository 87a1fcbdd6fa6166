#include "cri/image_service.h"

#include <sys/stat.h>

#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "cri/api/cri.h"
#include "cri/image/worker_pool.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/json.h"
#include "storage/digest.h"
#include "storage/image_fetch.h"
#include "storage/image_pull.h"
#include "storage/image_store.h"

namespace pepita::cri {
namespace {

constexpr std::size_t kQuestionThreads = 2;

/// `User` of an image's config. Empty also where it is none: one hostile image must not hide
/// others.
std::string user_of(const std::string& config) {
    const Result<runtime::oci::Json> json = runtime::oci::parse_json(config);
    const auto read = [&]() -> Result<std::string> {
        const auto object = TRY(runtime::oci::Node(*json, "config").object());
        return TRY(object.object_or_empty("config")).text_or_empty("User");
    };
    return json ? read().value_or("") : "";
}

/// "1002", "1003:1004", "www-data", "www-data:1004": a number is `uid`.
/// Source: OCI image-spec, config.md, `User`; CRI's api.proto, Image.
void set_user(v1::Image& image, std::string_view user) {
    user = user.substr(0, user.find(':'));
    std::int64_t uid = 0;
    const auto [end, error] = std::from_chars(user.data(), user.data() + user.size(), uid);
    if (error == std::errc() && end == user.data() + user.size()) {
        image.mutable_uid()->set_value(uid);
    } else {
        image.set_username(std::string(user));
    }
}

/// Errors: NotFound where it was removed meanwhile.
Result<v1::Image> to_message(const storage::ImageStore& store, const storage::ImageInfo& info) {
    v1::Image image;
    image.set_id(info.id.text());
    for (const std::string& name : info.names) {
        *(name.contains('@') ? image.add_repo_digests() : image.add_repo_tags()) = name;
    }
    image.set_size(info.size.value());
    image.mutable_spec()->set_image(info.id.text());
    set_user(image, user_of(TRY(store.config(info.id))));
    return image;
}

/// Nothing where there is no such image, or none any more.
Result<std::optional<v1::Image>> find_message(const storage::ImageStore& store,
                                              const std::string& reference) {
    const auto info = TRY(find_image(store, reference));
    if (!info) {
        return std::optional<v1::Image>();
    }
    Result<v1::Image> image = to_message(store, *info);
    if (!image && image.error().code() == Code::NotFound) {
        return std::optional<v1::Image>();
    }
    return TRY(std::move(image));
}

Result<v1::ListImagesResponse> list(const storage::ImageStore& store, const std::string& filter) {
    v1::ListImagesResponse response;
    if (!filter.empty()) {
        if (auto image = TRY(find_message(store, filter))) {
            *response.add_images() = *std::move(image);
        }
        return response;
    }
    for (const storage::ImageInfo& info : TRY(store.list())) {
        Result<v1::Image> image = to_message(store, info);
        if (image) {
            *response.add_images() = *std::move(image);
        } else if (image.error().code() != Code::NotFound) {
            return std::move(image).error();
        }
    }
    return response;
}

/// The config, and what the store knows beside it.
Result<std::string> verbose_info(const storage::ImageStore& store, const v1::Image& image) {
    const storage::Digest id = TRY(storage::parse_digest(image.id()));
    runtime::oci::OrderedJson json = runtime::oci::OrderedJson::object();
    json.emplace("imageSpec", TRY(runtime::oci::parse_json(TRY(store.config(id))), "config"));
    json.emplace("manifest", TRY(runtime::oci::parse_json(TRY(store.manifest(id))), "manifest"));
    return runtime::oci::dump(json);
}

Result<v1::ImageStatusResponse> status(const storage::ImageStore& store,
                                       const std::string& reference, bool is_verbose) {
    v1::ImageStatusResponse response;
    auto image = TRY(find_message(store, reference));
    if (!image) {
        return response;
    }
    if (is_verbose) {
        Result<std::string> info = verbose_info(store, *image);
        if (!info && info.error().code() == Code::NotFound) {
            return response;
        }
        (*response.mutable_info())["info"] = TRY(std::move(info));
    }
    *response.mutable_image() = *std::move(image);
    return response;
}

Result<v1::RemoveImageResponse> remove(storage::ImageStore& store, const std::string& reference) {
    if (const auto info = TRY(find_image(store, reference))) {
        TRY(store.remove(info->id));
    }
    return v1::RemoveImageResponse();
}

/// The files below a directory, as ImageStore::usage() counts.
Result<storage::ImageStoreUsage> usage_below(const std::string& directory) {
    storage::ImageStoreUsage usage;
    std::error_code error;
    std::filesystem::recursive_directory_iterator entry(directory, error);
    while (!error && entry != std::filesystem::recursive_directory_iterator()) {
        struct stat status{};
        if (::lstat(entry->path().c_str(), &status) == 0) {  // else it was removed meanwhile
            usage.used = usage.used + Bytes(static_cast<std::uint64_t>(status.st_blocks) * 512);
            ++usage.inodes;
        }
        entry.increment(error);
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        return Error::from_errno(error.value(), "look through '" + directory + "'");
    }
    return usage;
}

void add_usage(v1::FilesystemUsage& message, const std::string& directory,
               const storage::ImageStoreUsage& usage) {
    message.set_timestamp(std::chrono::duration_cast<std::chrono::nanoseconds>(
                              std::chrono::system_clock::now().time_since_epoch())
                              .count());
    message.mutable_fs_id()->set_mountpoint(directory);
    message.mutable_used_bytes()->set_value(usage.used.value());
    message.mutable_inodes_used()->set_value(usage.inodes);
}

Result<v1::ImageFsInfoResponse> usage(const storage::ImageStore& store,
                                      const ImageService::Options& options) {
    v1::ImageFsInfoResponse response;
    const storage::ImageStoreUsage images = TRY(store.usage());
    add_usage(*response.add_image_filesystems(), options.store, images);
    if (options.containers.empty()) {
        add_usage(*response.add_container_filesystems(), options.store, images);
    } else {
        add_usage(*response.add_container_filesystems(), options.containers,
                  TRY(usage_below(options.containers)));
    }
    return response;
}

/// "gcr.io" of "https://gcr.io/v2/".
std::string_view host_of(std::string_view server) {
    if (const std::size_t scheme = server.find("://"); scheme != std::string_view::npos) {
        server.remove_prefix(scheme + 3);
    }
    server = server.substr(0, server.find('/'));
    return server == "index.docker.io" || server == "registry-1.docker.io" ? "docker.io" : server;
}

/// None where they are another server's: credentials go nowhere else.
storage::RegistryAuth to_auth(const v1::AuthConfig& config, std::string_view registry) {
    if (!config.server_address().empty() && host_of(config.server_address()) != registry) {
        return {};
    }
    return {.username = config.username(),
            .password = config.password(),
            .auth = config.auth(),
            .identity_token = config.identity_token(),
            .registry_token = config.registry_token()};
}

}  // namespace

Result<std::optional<storage::ImageInfo>> find_image(const storage::ImageStore& store,
                                                     std::string_view reference) {
    // Names first: who has a name that begins as some id does means the name.
    if (const Result<std::string> name = storage::full_image_name(reference)) {
        if (auto info = TRY(store.find(*name))) {
            return info;
        }
    }
    return store.find(reference);
}

ImageService::ImageService(EventLoop& loop, storage::ImageStore& store, Options options)
    : loop_(loop),
      store_(store),
      options_(std::move(options)),
      questions_({.name = "image", .threads_max = kQuestionThreads, .queue_max = kWaitingMax}),
      pullers_({.name = "pull", .threads_max = options_.pulls_max, .queue_max = kWaitingMax}) {}

ImageService::~ImageService() {
    {
        const std::scoped_lock lock(mutex_);
        is_stopping_ = true;
        for (storage::FetchProgress* const progress : pulls_) {
            progress->is_cancelled = true;
        }
    }
    pullers_.stop();
    questions_.stop();
}

template <typename T>
void ImageService::start(WorkerPool& pool, std::move_only_function<Result<T>()> work,
                         OnResult<T> on_result) {
    // One owner at a time: of both functions one is called. std::move_only_function cannot share.
    auto answer = std::make_shared<OnResult<T>>(std::move(on_result));
    // The loop may run this when the service has gone: it holds nothing of it.
    const auto post = [&loop = loop_, answer](Result<T> result) {
        loop.post([answer, result = std::move(result)]() mutable { (*answer)(std::move(result)); });
    };
    WorkerPool::Work job{
        .run = [post, work = std::move(work)]() mutable { post(work()); },
        .drop = [post] { post(Error(Code::Cancelled, "the image service ends")); }};
    if (Result<void> added = pool.add(job); !added) {
        post(std::move(added).error());
    }
}

void ImageService::list_images(const v1::ListImagesRequest& request,
                               OnResult<v1::ListImagesResponse> on_result) {
    start<v1::ListImagesResponse>(
        questions_,
        [&store = store_, filter = request.filter().image().image()] {
            return list(store, filter);
        },
        std::move(on_result));
}

void ImageService::image_status(const v1::ImageStatusRequest& request,
                                OnResult<v1::ImageStatusResponse> on_result) {
    start<v1::ImageStatusResponse>(
        questions_,
        [&store = store_, reference = request.image().image(), is_verbose = request.verbose()] {
            return status(store, reference, is_verbose);
        },
        std::move(on_result));
}

Result<storage::ImageInfo> ImageService::pull(const std::string& reference,
                                              const storage::RegistryAuth& auth) {
    storage::FetchProgress progress;
    {
        const std::scoped_lock lock(mutex_);
        progress.is_cancelled = is_stopping_;
        pulls_.insert(&progress);
    }
    storage::PullOptions options{
        .fetch = {}, .auth = auth, .hosts_directory = options_.hosts_directory};
    options.fetch.progress = &progress;
    Result<storage::ImageInfo> info = storage::pull_image(store_, reference, options);
    const std::scoped_lock lock(mutex_);
    pulls_.erase(&progress);
    return info;
}

void ImageService::pull_image(const v1::PullImageRequest& request,
                              OnResult<v1::PullImageResponse> on_result) {
    start<v1::PullImageResponse>(
        pullers_,
        [this, reference = request.image().image(),
         config = request.auth()]() -> Result<v1::PullImageResponse> {
            const std::string registry = TRY(storage::registry_of(reference));
            Result<storage::ImageInfo> info = pull(reference, to_auth(config, registry));
            if (!info && info.error().code() == Code::Unavailable) {
                return Error(Code::Unavailable, "RegistryUnavailable: pull '" + reference +
                                                    "': " + info.error().message());
            }
            v1::PullImageResponse response;
            response.set_image_ref(TRY(std::move(info), "pull '", reference, "'").id.text());
            return response;
        },
        std::move(on_result));
}

void ImageService::remove_image(const v1::RemoveImageRequest& request,
                                OnResult<v1::RemoveImageResponse> on_result) {
    start<v1::RemoveImageResponse>(
        questions_,
        [&store = store_, reference = request.image().image()] { return remove(store, reference); },
        std::move(on_result));
}

void ImageService::image_fs_info(const v1::ImageFsInfoRequest& /*request*/,
                                 OnResult<v1::ImageFsInfoResponse> on_result) {
    start<v1::ImageFsInfoResponse>(
        questions_, [&store = store_, &options = options_] { return usage(store, options); },
        std::move(on_result));
}

}  // namespace pepita::cri
