#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "cri/api/cri.h"
#include "cri/image/worker_pool.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/on_result.h"
#include "storage/image_fetch.h"
#include "storage/image_pull.h"
#include "storage/image_store.h"

namespace pepita::cri {

/// The image that `reference` names as CRI's callers do: a name, which is completed as docker does
/// it ("busybox" is "docker.io/library/busybox:latest"), or an id or its unique beginning.
/// Errors: InvalidArgument where several ids begin so; the store's.
Result<std::optional<storage::ImageInfo>> find_image(const storage::ImageStore& store,
                                                     std::string_view reference);

/// CRI's ImageService on an image store.
///
/// The store's functions block, so each call runs on a thread of this, and pulls on threads apart:
/// however many pulls there are, the kubelet's other questions are answered.
///
/// Thread: that of the loop, on which all answers come: each call has one, also when this is
/// destroyed before (Cancelled), while the loop goes on.
class ImageService {
public:
    struct Options {
        std::string store;  // the store's directory, as ImageFsInfo reports it
        // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
        std::string hosts_directory = {};  // storage::PullOptions's
        /// Directory of containers' writable layers, for ImageFsInfo; empty: the store's.
        std::string containers = {};
        // NOLINTEND(readability-redundant-member-init)
        std::size_t pulls_max = 3;  // at once; more wait
    };
    static constexpr std::size_t kWaitingMax = 256;

    /// `loop` and `store` are borrowed.
    ImageService(EventLoop& loop, storage::ImageStore& store, Options options);
    ImageService(const ImageService&) = delete;
    ImageService& operator=(const ImageService&) = delete;
    ImageService(ImageService&&) = delete;
    ImageService& operator=(ImageService&&) = delete;
    /// Cancels the pulls, and waits until they have ended.
    ~ImageService();

    template <typename T>
    using OnResult = runtime::OnResult<T>;

    /// With a filter: the image that it names, or none.
    void list_images(const v1::ListImagesRequest& request,
                     OnResult<v1::ListImagesResponse> on_result);
    /// Without `image` where there is none. Verbose: "info" is JSON with the image's config.
    void image_status(const v1::ImageStatusRequest& request,
                      OnResult<v1::ImageStatusResponse> on_result);
    /// `image_ref` is the image's id. Goes on where the caller has given up.
    /// Errors: storage::pull_image's. The message of Unavailable begins with "RegistryUnavailable",
    /// which the kubelet looks for in errors of gRPC's code UNKNOWN, and only there.
    void pull_image(const v1::PullImageRequest& request, OnResult<v1::PullImageResponse> on_result);
    /// With all its names; nothing where there is none. Errors: FailedPrecondition where it is in
    /// use, as CRI-O does it: the image's disk is the container's root.
    void remove_image(const v1::RemoveImageRequest& request,
                      OnResult<v1::RemoveImageResponse> on_result);
    void image_fs_info(const v1::ImageFsInfoRequest& request,
                       OnResult<v1::ImageFsInfoResponse> on_result);

private:
    template <typename T>
    void start(WorkerPool& pool, std::move_only_function<Result<T>()> work, OnResult<T> on_result);
    Result<storage::ImageInfo> pull(const std::string& reference,
                                    const storage::RegistryAuth& auth);

    EventLoop& loop_;
    storage::ImageStore& store_;
    const Options options_;
    std::mutex mutex_;
    bool is_stopping_ = false;
    std::set<storage::FetchProgress*> pulls_;
    WorkerPool questions_;
    WorkerPool pullers_;
};

}  // namespace pepita::cri
