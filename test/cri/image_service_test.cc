#include "cri/image_service.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/api/cri.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/pipe.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/sources.h"
#include "storage/image_store.h"
#include "test/support/tar.h"

namespace pepita::cri {
namespace {

namespace fs = std::filesystem;
using storage::Digest;

Digest digest_of(std::string_view text) { return *storage::sha256(std::as_bytes(std::span(text))); }

/// An image of one layer, as a registry has it.
struct MadeImage {
    explicit MadeImage(std::string_view content, std::string_view config_members = "{}")
        : layer(test::Tar().file("name", content).bytes()),
          config(R"({"os":"linux","architecture":"amd64","config":)" + std::string(config_members) +
                 R"(,"rootfs":{"type":"layers","diff_ids":[")" + digest_of(layer).text() + "\"]}}"),
          manifest(R"({"schemaVersion":2,"config":)" + descriptor("config.v1+json", config) +
                   R"(,"layers":[)" + descriptor("layer.v1.tar", layer) + "]}"),
          id(digest_of(config).text()) {}

    static std::string descriptor(std::string_view kind, std::string_view bytes) {
        return R"({"mediaType":"application/vnd.oci.image.)" + std::string(kind) +
               R"(","digest":")" + digest_of(bytes).text() + R"(","size":)" +
               std::to_string(bytes.size()) + "}";
    }

    std::string layer;
    std::string config;
    std::string manifest;
    std::string id;
};

struct HttpRequest {
    std::string path;
    std::string head;
};

/// A registry on the loopback, one connection after the other.
class FakeRegistry {
public:
    struct Answer {
        int status = 200;
        // NOLINTBEGIN(readability-redundant-member-init): what has a default may be left out.
        std::string body = {};
        std::string headers = {};
        // NOLINTEND(readability-redundant-member-init)
    };
    /// Nothing: the client waits until this goes.
    using OnRequest = std::function<std::optional<Answer>(const HttpRequest&)>;

    explicit FakeRegistry(OnRequest on_request) : on_request_(std::move(on_request)) {
        listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof(address);
        // SAFETY: the socket interface's way to pass an address of any family.
        auto* const any = reinterpret_cast<sockaddr*>(&address);
        EXPECT_EQ(::bind(listener_.ref().number(), any, size), 0);
        EXPECT_EQ(::listen(listener_.ref().number(), 16), 0);
        EXPECT_EQ(::getsockname(listener_.ref().number(), any, &size), 0);
        host_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
        auto pipe = make_pipe();
        EXPECT_TRUE(pipe);
        stop_ = std::move(*pipe);
        thread_ = *Thread::start("registry", [this] { serve(); });
    }
    FakeRegistry(const FakeRegistry&) = delete;
    FakeRegistry& operator=(const FakeRegistry&) = delete;
    FakeRegistry(FakeRegistry&&) = delete;
    FakeRegistry& operator=(FakeRegistry&&) = delete;
    ~FakeRegistry() {
        stop_.write = Fd();
        thread_.join();
    }

    const std::string& host() const { return host_; }
    std::vector<std::string> paths() const {
        const std::scoped_lock lock(mutex_);
        return paths_;
    }

private:
    void serve() {
        for (;;) {
            std::array<pollfd, 2> fds{};
            fds[0] = {.fd = listener_.ref().number(), .events = POLLIN, .revents = 0};
            fds[1] = {.fd = stop_.read.ref().number(), .events = POLLIN, .revents = 0};
            if (::poll(fds.data(), fds.size(), -1) < 0 || fds[1].revents != 0) {
                return;
            }
            answer(Fd(::accept4(listener_.ref().number(), nullptr, nullptr, SOCK_CLOEXEC)));
        }
    }
    void answer(Fd client) {
        std::string head;
        std::array<char, 4096> block{};
        while (!head.contains("\r\n\r\n")) {
            const ssize_t count = ::recv(client.ref().number(), block.data(), block.size(), 0);
            if (count <= 0) {
                return;
            }
            head.append(block.data(), static_cast<std::size_t>(count));
        }
        HttpRequest request{.path = head.substr(head.find(' ') + 1), .head = head};
        request.path.resize(request.path.find(' '));
        {
            const std::scoped_lock lock(mutex_);
            paths_.push_back(request.path);
        }
        const std::optional<Answer> reply = on_request_(request);
        if (!reply) {
            held_.push_back(std::move(client));
            return;
        }
        const std::string text = "HTTP/1.1 " + std::to_string(reply->status) +
                                 " -\r\nContent-Length: " + std::to_string(reply->body.size()) +
                                 "\r\nConnection: close\r\n" + reply->headers + "\r\n" +
                                 reply->body;
        EXPECT_TRUE(write_all(client.ref(), text, "the client"));
    }

    OnRequest on_request_;
    std::string host_;
    Fd listener_;
    Pipe stop_;
    mutable std::mutex mutex_;
    std::vector<std::string> paths_;
    std::vector<Fd> held_;  // the thread's
    Thread thread_;
};

/// What a registry with one image answers, whatever the repository.
std::optional<FakeRegistry::Answer> serve(const MadeImage& image, const std::string& path) {
    if (path.contains("/manifests/")) {
        return FakeRegistry::Answer{.body = image.manifest};
    }
    for (const std::string* blob : {&image.config, &image.layer}) {
        if (path.ends_with("/blobs/" + digest_of(*blob).text())) {
            return FakeRegistry::Answer{.body = *blob};
        }
    }
    return FakeRegistry::Answer{.status = 404};
}

class ImageServiceTest : public testing::Test {
protected:
    void SetUp() override {
        std::string path = fs::temp_directory_path() / "pepita-images-XXXXXX";
        ASSERT_NE(::mkdtemp(path.data()), nullptr);
        directory_ = path;
        auto store = storage::ImageStore::open(directory_);
        ASSERT_TRUE(store) << store.error().message();
        store_ = std::move(*store);
        auto loop = EventLoop::create();
        ASSERT_TRUE(loop);
        loop_ = std::move(*loop);
        begin({.store = directory_});
    }
    void TearDown() override {
        service_.reset();
        store_.reset();
        fs::remove_all(directory_);
    }
    void begin(ImageService::Options options) {
        service_ = std::make_unique<ImageService>(*loop_, *store_, std::move(options));
    }

    void add(const MadeImage& image, std::vector<std::string> names) {
        auto layer = store_->layer(
            digest_of(image.layer), [&]() -> Result<std::unique_ptr<storage::image::ByteSource>> {
                return std::unique_ptr<storage::image::ByteSource>(
                    std::make_unique<storage::image::MemorySource>(image.layer));
            });
        ASSERT_TRUE(layer) << layer.error().message();
        std::vector<storage::HeldLayer> layers;
        layers.push_back(std::move(*layer));
        const auto added = store_->add(
            {.config = image.config, .manifest = image.manifest, .names = std::move(names)},
            layers);
        ASSERT_TRUE(added) << added.error().message();
    }

    void run_until(const std::function<bool()>& is_done) {
        while (!is_done()) {
            ASSERT_TRUE(loop_->run_once(std::chrono::hours(1)));
        }
    }
    /// The answer of a call, from the loop.
    template <typename Request, typename Response>
    Result<Response> call(void (ImageService::*method)(const Request&, runtime::OnResult<Response>),
                          const Request& request) {
        std::optional<Result<Response>> answer;
        (service_.get()->*method)(request,
                                  [&](Result<Response> result) { answer = std::move(result); });
        EXPECT_FALSE(answer);  // never from within the call
        run_until([&] { return answer.has_value(); });
        return std::move(answer).value_or(Error(Code::Internal, "there is no answer"));
    }
    Result<v1::ListImagesResponse> list(const std::string& filter = "") {
        v1::ListImagesRequest request;
        request.mutable_filter()->mutable_image()->set_image(filter);
        return call(&ImageService::list_images, request);
    }
    v1::ImageStatusResponse status(const std::string& reference, bool is_verbose = false) {
        v1::ImageStatusRequest request;
        request.mutable_image()->set_image(reference);
        request.set_verbose(is_verbose);
        auto response = call(&ImageService::image_status, request);
        EXPECT_TRUE(response) << response.error().message();
        return *std::move(response);
    }
    static v1::PullImageRequest pull_request(const std::string& reference) {
        v1::PullImageRequest request;
        request.mutable_image()->set_image(reference);
        return request;
    }
    Result<v1::PullImageResponse> pull(const v1::PullImageRequest& request) {
        return call(&ImageService::pull_image, request);
    }
    Result<v1::RemoveImageResponse> remove(const std::string& reference) {
        v1::RemoveImageRequest request;
        request.mutable_image()->set_image(reference);
        return call(&ImageService::remove_image, request);
    }

    std::string directory_;
    std::unique_ptr<storage::ImageStore> store_;
    std::unique_ptr<EventLoop> loop_;
    std::unique_ptr<ImageService> service_;
};

TEST_F(ImageServiceTest, AnImageIsFoundByEachOfItsReferences) {
    const MadeImage image("content");
    const std::string by_digest = "docker.io/library/busybox@" + digest_of(image.manifest).text();
    add(image, {"docker.io/library/busybox:latest", by_digest});
    const v1::Image found = status("busybox").image();
    EXPECT_EQ(found.id(), image.id);
    EXPECT_EQ(found.spec().image(), image.id);
    ASSERT_EQ(found.repo_tags_size(), 1);
    EXPECT_EQ(found.repo_tags(0), "docker.io/library/busybox:latest");
    ASSERT_EQ(found.repo_digests_size(), 1);
    EXPECT_EQ(found.repo_digests(0), by_digest);
    EXPECT_EQ(found.size(), 2U * 4096);  // metadata and the layer
    EXPECT_FALSE(found.pinned());
    for (const std::string& reference :
         {std::string("docker.io/library/busybox:latest"), by_digest, image.id, image.id.substr(7),
          image.id.substr(7, 12), "busybox:other@" + digest_of(image.manifest).text()}) {
        EXPECT_EQ(status(reference).image().SerializeAsString(), found.SerializeAsString())
            << reference;
    }
}

TEST_F(ImageServiceTest, ANameGoesBeforeTheBeginningOfAnId) {
    const MadeImage named("content");
    const MadeImage other("other content");
    add(other, {"docker.io/library/other:latest"});
    const std::string beginning = other.id.substr(7, 5);
    add(named, {"docker.io/library/" + beginning + ":latest"});
    EXPECT_EQ(status(beginning).image().id(), named.id);
}

TEST_F(ImageServiceTest, NoImageIsAnEmptyAnswer) {
    EXPECT_FALSE(status("busybox").has_image());
    EXPECT_FALSE(status("sha256:" + std::string(64, 'a')).has_image());
    EXPECT_FALSE(status("Not A Name!").has_image());
    EXPECT_EQ(list()->images_size(), 0);
    EXPECT_EQ(list("busybox")->images_size(), 0);
}

TEST_F(ImageServiceTest, TheUserOfAnImageIsANumberOrAName) {
    const auto user_of = [&](const std::string& name, std::string_view config) {
        add(MadeImage(name, config), {"docker.io/" + name + ":latest"});
        return status(name).image();
    };
    EXPECT_EQ(user_of("r/a", R"({"User":"1002"})").uid().value(), 1002);
    EXPECT_EQ(user_of("r/b", R"({"User":"1003:1004"})").uid().value(), 1003);
    const v1::Image named = user_of("r/c", R"({"User":"www-data:1004"})");
    EXPECT_EQ(named.username(), "www-data");
    EXPECT_FALSE(named.has_uid());
    const v1::Image none = user_of("r/d", "{}");
    EXPECT_EQ(none.username(), "");
    EXPECT_FALSE(none.has_uid());
}

TEST_F(ImageServiceTest, AHostileConfigHidesNoOtherImage) {
    add(MadeImage("a", R"({"User":"1002"})"), {"docker.io/library/a:1"});
    add(MadeImage("b", R"({"User":["no","text"]})"), {"docker.io/library/b:1"});
    add(MadeImage("c", R"("no object")"), {"docker.io/library/c:1"});
    const auto images = list();
    ASSERT_TRUE(images) << images.error().message();
    EXPECT_EQ(images->images_size(), 3);
}

TEST_F(ImageServiceTest, AFilterNamesOneImage) {
    const MadeImage a("a");
    add(a, {"docker.io/library/a:latest"});
    add(MadeImage("b"), {"docker.io/library/b:latest"});
    EXPECT_EQ(list()->images_size(), 2);
    const auto filtered = list("a");
    ASSERT_EQ(filtered->images_size(), 1);
    EXPECT_EQ(filtered->images(0).id(), a.id);
}

TEST_F(ImageServiceTest, AVerboseStatusHasTheConfig) {
    add(MadeImage("a", R"({"Env":["A=1"]})"), {"docker.io/library/a:latest"});
    EXPECT_EQ(status("a").info_size(), 0);
    const v1::ImageStatusResponse verbose = status("a", true);
    ASSERT_EQ(verbose.info().count("info"), 1U);
    EXPECT_TRUE(verbose.info().at("info").contains(R"("Env":["A=1"])"));
    EXPECT_TRUE(verbose.info().at("info").contains(R"("schemaVersion":2)"));
}

TEST_F(ImageServiceTest, RemovingByOneNameRemovesAll) {
    const MadeImage image("a");
    add(image, {"k8s.gcr.io/pause:3.9", "registry.k8s.io/pause:3.9"});
    ASSERT_TRUE(remove("registry.k8s.io/pause:3.9"));
    EXPECT_EQ(list()->images_size(), 0);
    EXPECT_FALSE(status("k8s.gcr.io/pause:3.9").has_image());
    EXPECT_TRUE(remove("k8s.gcr.io/pause:3.9"));  // that is not there
    EXPECT_TRUE(remove(image.id));
}

TEST_F(ImageServiceTest, AnImageInUseStaysWithItsNames) {
    const MadeImage image("a");
    add(image, {"docker.io/library/a:latest"});
    {
        const auto open = store_->use(digest_of(image.config));
        ASSERT_TRUE(open);
        EXPECT_EQ(remove("a").error().code(), Code::FailedPrecondition);
        EXPECT_EQ(status("a").image().id(), image.id);
    }
    EXPECT_TRUE(remove("a"));
}

TEST_F(ImageServiceTest, ReportsTheStoreAndWhereContainersWrite) {
    const auto alone = call(&ImageService::image_fs_info, v1::ImageFsInfoRequest());
    ASSERT_TRUE(alone);
    EXPECT_EQ(alone->container_filesystems(0).fs_id().mountpoint(), directory_);
    const std::string containers = directory_ + "-containers";
    fs::create_directories(containers + "/pod");
    begin({.store = directory_, .containers = containers});
    add(MadeImage("a"), {"docker.io/library/a:latest"});
    const auto info = call(&ImageService::image_fs_info, v1::ImageFsInfoRequest());
    fs::remove_all(containers);
    ASSERT_TRUE(info) << info.error().message();
    ASSERT_EQ(info->image_filesystems_size(), 1);
    const v1::FilesystemUsage& images = info->image_filesystems(0);
    EXPECT_EQ(images.fs_id().mountpoint(), directory_);
    EXPECT_GT(images.timestamp(), 0);
    EXPECT_GT(images.used_bytes().value(), alone->image_filesystems(0).used_bytes().value());
    EXPECT_GT(images.inodes_used().value(), 5U);
    ASSERT_EQ(info->container_filesystems_size(), 1);
    EXPECT_EQ(info->container_filesystems(0).fs_id().mountpoint(), containers);
    EXPECT_EQ(info->container_filesystems(0).inodes_used().value(), 1U);
}

TEST_F(ImageServiceTest, APulledImageHasOneIdEverywhere) {
    const MadeImage image("pulled");
    FakeRegistry registry([&](const HttpRequest& request) { return serve(image, request.path); });
    const std::string name = registry.host() + "/team/app";
    const auto pulled = pull(pull_request(name));
    ASSERT_TRUE(pulled) << pulled.error().message();
    EXPECT_EQ(pulled->image_ref(), image.id);
    const v1::Image found = status(name).image();
    EXPECT_EQ(found.id(), image.id);
    EXPECT_EQ(found.repo_tags(0), name + ":latest");
    EXPECT_EQ(found.repo_digests(0), name + "@" + digest_of(image.manifest).text());
    // Once more, by digest: nothing but the manifest and the config is transferred.
    EXPECT_EQ(pull(pull_request(found.repo_digests(0)))->image_ref(), image.id);
    EXPECT_EQ(
        std::ranges::count(registry.paths(), "/v2/team/app/blobs/" + digest_of(image.layer).text()),
        1);
}

TEST_F(ImageServiceTest, CredentialsGoToTheirServerOnly) {
    const MadeImage image("secret");
    FakeRegistry registry([&](const HttpRequest& request) -> std::optional<FakeRegistry::Answer> {
        if (!request.head.contains("Authorization: Basic dXNlcjpzZWNyZXQ=\r\n")) {  // user:secret
            return FakeRegistry::Answer{.status = 401,
                                        .headers = "WWW-Authenticate: Basic realm=\"r\"\r\n"};
        }
        return serve(image, request.path);
    });
    v1::PullImageRequest request = pull_request(registry.host() + "/app:1");
    EXPECT_EQ(pull(request).error().code(), Code::PermissionDenied);
    request.mutable_auth()->set_username("user");
    request.mutable_auth()->set_password("secret");
    request.mutable_auth()->set_server_address("https://elsewhere.example/v1/");
    EXPECT_EQ(pull(request).error().code(), Code::PermissionDenied);
    request.mutable_auth()->set_server_address("http://" + registry.host() + "/v2/");
    EXPECT_TRUE(pull(request));
    v1::PullImageRequest encoded = pull_request(registry.host() + "/app:2");
    encoded.mutable_auth()->set_auth("dXNlcjpzZWNyZXQ=");
    EXPECT_TRUE(pull(encoded));
}

TEST_F(ImageServiceTest, ARegistryTokenIsSentAsItIs) {
    const MadeImage image("token");
    FakeRegistry registry([&](const HttpRequest& request) -> std::optional<FakeRegistry::Answer> {
        if (!request.head.contains("Authorization: Bearer given\r\n")) {
            return FakeRegistry::Answer{
                .status = 401,
                .headers = "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:1/t\"\r\n"};
        }
        return serve(image, request.path);
    });
    v1::PullImageRequest request = pull_request(registry.host() + "/app:1");
    request.mutable_auth()->set_registry_token("given");
    const auto pulled = pull(request);
    EXPECT_TRUE(pulled) << pulled.error().message();
}

TEST_F(ImageServiceTest, FailuresOfPullsAreWhatTheKubeletLooksFor) {
    FakeRegistry registry([](const HttpRequest& request) {
        return FakeRegistry::Answer{.status = request.path.contains("/broken/") ? 501 : 404};
    });
    EXPECT_EQ(pull(pull_request(registry.host() + "/app:1")).error().code(), Code::NotFound);
    const auto broken = pull(pull_request(registry.host() + "/broken/app:1"));
    EXPECT_EQ(broken.error().code(), Code::Unavailable);
    EXPECT_TRUE(broken.error().message().starts_with("RegistryUnavailable: "));
    EXPECT_EQ(pull(pull_request("Not A Name!")).error().code(), Code::InvalidArgument);
    EXPECT_EQ(pull(pull_request("")).error().code(), Code::InvalidArgument);
}

TEST_F(ImageServiceTest, PullsWaitForEachOtherAndQuestionsForNone) {
    begin({.store = directory_, .pulls_max = 1});
    const MadeImage image("slow");
    std::latch reached(1);
    std::latch go(1);
    FakeRegistry registry([&](const HttpRequest& request) {
        if (request.path == "/v2/first/manifests/latest") {
            reached.count_down();
            go.wait();
        }
        return serve(image, request.path);
    });
    std::vector<std::string> done;
    for (const std::string& name : {std::string("first"), std::string("second")}) {
        service_->pull_image(pull_request(registry.host() + "/" + name),
                             [&, name](const Result<v1::PullImageResponse>& result) {
                                 EXPECT_TRUE(result);
                                 done.push_back(name);
                             });
    }
    reached.wait();
    EXPECT_FALSE(status("busybox").has_image());
    EXPECT_TRUE(done.empty());
    EXPECT_EQ(registry.paths().size(), 1U);
    go.count_down();
    run_until([&] { return done.size() == 2; });
    EXPECT_EQ(done, (std::vector<std::string>{"first", "second"}));
}

TEST_F(ImageServiceTest, ItsEndCancelsPullsAndAnswersThem) {
    begin({.store = directory_, .pulls_max = 1});
    std::latch reached(1);
    FakeRegistry registry([&](const HttpRequest&) -> std::optional<FakeRegistry::Answer> {
        reached.count_down();
        return std::nullopt;
    });
    std::vector<Code> codes;
    for (const std::string& name : {std::string("runs"), std::string("waits")}) {
        service_->pull_image(pull_request(registry.host() + "/" + name),
                             [&](const Result<v1::PullImageResponse>& result) {
                                 codes.push_back(result.error().code());
                             });
    }
    reached.wait();
    service_.reset();
    EXPECT_TRUE(codes.empty());
    run_until([&] { return codes.size() == 2; });
    EXPECT_EQ(codes, (std::vector{Code::Cancelled, Code::Cancelled}));
    EXPECT_TRUE(store_->list()->empty());
}

}  // namespace
}  // namespace pepita::cri
