// A registry by the distribution specification 1.1, as a source of contents.
//
// An answer of 401 tells how to ask: with Basic, or with a token that another server gives. The
// token is kept for the pull. A request that fails for reasons that pass (no connection, 429, 5xx)
// is made again after a while; a download that ends too early goes on where it ended, so a body
// never is transferred twice.
#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/adaptive_mutex.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/thread_annotations.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/rpc/json.h"
#include "storage/image/byte_source.h"
#include "storage/image/credentials.h"
#include "storage/image/fetch.h"
#include "storage/image/hosts.h"
#include "storage/image/http.h"
#include "storage/image/limits.h"
#include "storage/image/manifest.h"
#include "storage/image/reference.h"
#include "storage/image_pull.h"
#include "storage/image_store.h"

namespace pepita::storage {
namespace image {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kAccept =
    "Accept: application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json";
constexpr int kAttempts = 6;
constexpr milliseconds kFirstPause{250};
constexpr std::chrono::seconds kRetryAfterMax{60};
constexpr std::size_t kTokenMax = std::size_t{64} << 10U;
/// A download that moved so far may fail as often again.
constexpr std::uint64_t kProgressBytes = 1U << 20U;

Result<std::string> read_text(ByteSource& source, std::size_t size_max) {
    std::string text;
    std::vector<std::byte> buffer(std::size_t{64} << 10U);
    for (;;) {
        const std::size_t count = TRY(source.read(buffer));
        if (count == 0) {
            return text;
        }
        if (text.size() + count > size_max) {
            return Error(Code::ResourceExhausted,
                         "the answer has more than " + std::to_string(size_max) + " bytes");
        }
        // SAFETY: bytes seen as characters.
        text.append(reinterpret_cast<const char*>(buffer.data()), count);
    }
}

bool may_pass(long status) {
    return status == 408 || status == 429 || (status >= 500 && status != 501);
}

/// How long to wait before the next attempt.
milliseconds pause_of(const HttpAnswer* answer, int attempt) {
    if (answer != nullptr) {
        // Of the two forms only seconds: registries send no dates.
        const std::string text = answer->header("retry-after");
        unsigned seconds = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
        if (!text.empty() && error == std::errc() && end == text.data() + text.size()) {
            return std::min<milliseconds>(std::chrono::seconds(seconds), kRetryAfterMax);
        }
    }
    return kFirstPause * (1 << attempt);
}

Error error_of(long status, const std::string& what) {
    const std::string message = what + ": HTTP " + std::to_string(status);
    switch (status) {
        case 401:
        case 403:
            return {Code::PermissionDenied, message + ", access is denied"};
        case 404:
            return {Code::NotFound, message + ", not found"};
        case 429:
            return {Code::ResourceExhausted, message + ", too many requests"};
        default:
            return {Code::Unavailable, message};
    }
}

/// A registry, or one of its mirrors.
class RegistrySource final : public ContentSource {
public:
    /// `attempts`: at each request.
    RegistrySource(Endpoint endpoint, std::string repository, RegistryAuth auth, int attempts,
                   const std::atomic<bool>* is_cancelled)
        : endpoint_(std::move(endpoint)),
          repository_(std::move(repository)),
          auth_(std::move(auth)),
          attempts_(attempts),
          is_cancelled_(is_cancelled) {}

    bool resolves() const { return endpoint_.resolves; }

    Result<ManifestBytes> manifest(const std::string& reference) override {
        const auto answer = TRY(get("/manifests/" + reference, 0, "manifest '" + reference + "'"));
        ManifestBytes bytes;
        bytes.text =
            TRY(read_text(*answer, ImageLimits::kManifestMax), "manifest '", reference, "'");
        bytes.media_type = answer->header("content-type");
        bytes.media_type.resize(std::min(bytes.media_type.find(';'), bytes.media_type.size()));
        return bytes;
    }

    Result<std::unique_ptr<ByteSource>> blob(const Descriptor& descriptor) override {
        return opened_blob(descriptor);
    }
    /// The same, whose first answer is there.
    Result<std::unique_ptr<ByteSource>> opened_blob(const Descriptor& descriptor) {
        auto blob = std::make_unique<Blob>(*this, descriptor.digest);
        TRY(blob->open());
        return std::unique_ptr<ByteSource>(std::move(blob));
    }

private:
    /// A download that goes on after a failure.
    class Blob final : public ByteSource {
    public:
        Blob(RegistrySource& registry, const Digest& digest)
            : registry_(registry), digest_(digest.text()) {}

        Result<std::size_t> read(std::span<std::byte> into) override {
            for (;;) {
                if (!answer_) {
                    TRY(open());
                }
                Result<std::size_t> count = answer_->read(into);
                if (count) {
                    offset_ += *count;
                    if (offset_ - progress_at_ >= kProgressBytes) {
                        progress_at_ = offset_;
                        failures_ = 0;
                    }
                    return count;
                }
                answer_.reset();
                if (count.error().code() != Code::Unavailable || ++failures_ >= kAttempts) {
                    return count;
                }
                if (!wait_for(pause_of(nullptr, failures_ - 1), registry_.is_cancelled_)) {
                    return Error(Code::Cancelled, "the download was cancelled");
                }
            }
        }

        Result<void> open() {
            answer_ = TRY(registry_.get("/blobs/" + digest_, offset_, "blob " + digest_));
            if (offset_ == 0 || answer_->status() == 206) {
                const std::string range = answer_->header("content-range");
                const std::string begin = "bytes " + std::to_string(offset_) + "-";
                if (offset_ != 0 && !range.starts_with(begin)) {
                    return Error(Code::Unavailable,
                                 "blob " + digest_ + ": the registry sends another part of it");
                }
                return {};
            }
            // The whole once more: past what is there already.
            std::vector<std::byte> skipped(std::size_t{64} << 10U);
            for (std::uint64_t left = offset_; left != 0;) {
                const std::size_t count = TRY(answer_->read(
                    std::span(skipped).first(std::min<std::uint64_t>(left, skipped.size()))));
                if (count == 0) {
                    return Error(Code::DataLoss, "blob " + digest_ + " became shorter");
                }
                left -= count;
            }
            return {};
        }

    private:
        RegistrySource& registry_;
        std::string digest_;
        std::unique_ptr<HttpAnswer> answer_;
        std::uint64_t offset_ = 0;
        std::uint64_t progress_at_ = 0;
        int failures_ = 0;
    };

    /// A GET below the repository, with what it takes to be let in.
    Result<std::unique_ptr<HttpAnswer>> get(const std::string& path, std::uint64_t offset,
                                            const std::string& what) {
        HttpRequest request;
        request.url = endpoint_.url + "/" + repository_ + path;
        if (!endpoint_.name_space.empty()) {
            request.url += "?ns=" + percent_encoded(endpoint_.name_space);
        }
        request.headers = {std::string(kAccept)};
        request.private_headers = endpoint_.headers;
        request.tls = endpoint_.tls;
        request.offset = offset;
        request.is_cancelled = is_cancelled_;
        bool has_asked = false;
        for (int attempt = 0;; ++attempt) {
            request.authorization = authorization();
            Result<std::unique_ptr<HttpAnswer>> answer = HttpAnswer::get(request);
            if (answer && (*answer)->status() == 401 && !has_asked) {
                has_asked = true;
                TRY(authorize(**answer), what);
                continue;
            }
            const bool is_last = attempt + 1 >= attempts_;
            if (answer && ((*answer)->status() == 200 || (*answer)->status() == 206)) {
                return answer;
            }
            if (answer && (is_last || !may_pass((*answer)->status()))) {
                return error_of((*answer)->status(), what);
            }
            if (!answer && (is_last || answer.error().code() != Code::Unavailable)) {
                return std::move(answer.error()).within(what);
            }
            if (!wait_for(pause_of(answer ? answer->get() : nullptr, attempt), is_cancelled_)) {
                return Error(Code::Cancelled, what + ": the pull was cancelled");
            }
        }
    }

    std::string authorization() {
        const AdaptiveLock lock(mutex_);
        return authorization_;
    }

    void set_authorization(std::string value) {
        const AdaptiveLock lock(mutex_);
        authorization_ = std::move(value);
    }

    /// "user:password"; empty: anonymous.
    Result<std::string> login() const {
        if (!auth_.auth.empty()) {
            return base64_decoded(auth_.auth);
        }
        return auth_.username.empty() ? "" : auth_.username + ":" + auth_.password;
    }

    Result<void> authorize(const HttpAnswer& refusal) {
        const auto challenge = parse_challenge(refusal.header("www-authenticate"));
        if (!challenge) {
            return Error(Code::PermissionDenied,
                         "the registry asks for a login in a way that is not known");
        }
        if (!auth_.registry_token.empty()) {
            set_authorization("Bearer " + auth_.registry_token);
            return {};
        }
        const std::string login = TRY(this->login(), "the credentials");
        if (challenge->scheme == Challenge::Scheme::Bearer) {
            set_authorization("Bearer " + TRY(token(*challenge, login)));
            return {};
        }
        if (login.empty()) {
            return Error(Code::PermissionDenied, "the registry asks for a login");
        }
        set_authorization("Basic " + base64_encoded(login));
        return {};
    }

    Result<std::string> token(const Challenge& challenge, const std::string& login) const {
        const auto parameter = [&](const std::string& name) -> std::string {
            const auto found = challenge.parameters.find(name);
            return found == challenge.parameters.end() ? "" : found->second;
        };
        const std::string realm = parameter("realm");
        const bool is_safe = realm.starts_with("https://") ||
                             (endpoint_.url.starts_with("http://") && realm.starts_with("http://"));
        if (!is_safe) {
            return Error(Code::PermissionDenied, "tokens come from '" +
                                                     printable(realm.substr(0, 256)) +
                                                     "', where no credentials are sent to");
        }
        const std::string scope =
            parameter("scope").empty() ? "repository:" + repository_ + ":pull" : parameter("scope");
        std::string query =
            "service=" + percent_encoded(parameter("service")) + "&scope=" + percent_encoded(scope);
        HttpRequest request;
        request.url = realm;
        request.tls.authorities = endpoint_.tls.authorities;
        request.tls.skip_verify =
            endpoint_.tls.skip_verify && origin_of(realm) == origin_of(endpoint_.url);
        request.is_cancelled = is_cancelled_;
        if (!auth_.identity_token.empty()) {
            request.form = "grant_type=refresh_token&client_id=pepita&refresh_token=" +
                           percent_encoded(auth_.identity_token) + "&" + query;
        } else {
            request.url += (realm.find('?') == std::string::npos ? "?" : "&") + query;
            request.authorization = login.empty() ? "" : "Basic " + base64_encoded(login);
        }
        const auto answer = TRY(HttpAnswer::get(request), "token");
        if (answer->status() != 200) {
            return error_of(answer->status(), "token");
        }
        const std::string text = TRY(read_text(*answer, kTokenMax), "token");
        const runtime::oci::Json json = TRY(runtime::oci::parse_json(text), "token");
        const auto object = TRY(runtime::oci::Node(json, "token").object());
        std::string token = TRY(object.text_or_empty("token"));
        token = token.empty() ? TRY(object.text_or_empty("access_token")) : token;
        const bool is_plain =
            std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
        if (token.empty() || !is_plain) {
            return Error(Code::PermissionDenied, "the token server gave none");
        }
        return token;
    }

    Endpoint endpoint_;
    std::string repository_;
    RegistryAuth auth_;
    int attempts_;
    const std::atomic<bool>* is_cancelled_;
    AdaptiveMutex mutex_;
    std::string authorization_ PEPITA_GUARDED_BY(mutex_);  // what the registry let in last
};

/// Mirrors one after the other, and then the registry. What one cannot give, the next is asked for:
/// whatever a mirror sends is checked by its digest, or is what it may say of a tag.
class MirroredSource final : public ContentSource {
public:
    MirroredSource(std::vector<Endpoint> endpoints, const Reference& reference,
                   const RegistryAuth& auth, FetchProgress* progress) {
        for (Endpoint& endpoint : endpoints) {
            const bool is_last = &endpoint == &endpoints.back();
            const RegistryAuth own = endpoint.is_registry ? auth : RegistryAuth{};
            sources_.push_back(std::make_unique<RegistrySource>(
                std::move(endpoint), reference.repository, own, is_last ? kAttempts : 1,
                progress == nullptr ? nullptr : &progress->is_cancelled));
        }
    }

    Result<ManifestBytes> manifest(const std::string& reference) override {
        const bool is_tag = !reference.starts_with("sha256:");
        return first<ManifestBytes>(
            is_tag, [&](RegistrySource& source) { return source.manifest(reference); });
    }

    Result<std::unique_ptr<ByteSource>> blob(const Descriptor& descriptor) override {
        return first<std::unique_ptr<ByteSource>>(
            false, [&](RegistrySource& source) { return source.opened_blob(descriptor); });
    }

private:
    template <typename T>
    Result<T> first(bool is_tag, auto&& ask) {
        std::string failures;
        for (const std::unique_ptr<RegistrySource>& source : sources_) {
            if (is_tag && !source->resolves()) {
                continue;
            }
            Result<T> answer = ask(*source);
            if (answer || answer.error().code() == Code::Cancelled || source == sources_.back()) {
                return answer || failures.empty()
                           ? std::move(answer)
                           : Result<T>(std::move(answer.error()).within(failures + "then"));
            }
            failures += answer.error().message() + "; ";
        }
        return Error(Code::NotFound, "no endpoint may say what a tag is");
    }

    std::vector<std::unique_ptr<RegistrySource>> sources_;
};

}  // namespace
}  // namespace image

Result<std::string> full_image_name(std::string_view reference) {
    const image::Reference parsed = TRY(image::parse_reference(reference));
    return parsed.digest ? parsed.with(*parsed.digest) : parsed.tagged();
}

Result<std::string> registry_of(std::string_view reference) {
    return TRY(image::parse_reference(reference)).registry;
}

Result<ImageInfo> pull_image(ImageStore& store, std::string_view reference,
                             const PullOptions& options) {
    const image::Reference parsed = TRY(image::parse_reference(reference));
    image::MirroredSource source(TRY(image::endpoints_of(parsed.registry, options.hosts_directory)),
                                 parsed, options.auth, options.fetch.progress);
    std::vector<std::string> names;
    if (!parsed.tag.empty()) {
        names.push_back(parsed.tagged());
    }
    return image::fetch_image(store, source, parsed.manifest_reference(), std::move(names),
                              parsed.name(), options.fetch);
}

}  // namespace pepita::storage
