#include "storage/image/http.h"

#include <curl/curl.h>
#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"

namespace pepita::storage::image {
namespace {

constexpr std::size_t kBufferMax = std::size_t{1} << 20U;
constexpr std::size_t kHeadersMax = 64;
constexpr std::size_t kPemMax = std::size_t{4} << 20U;
constexpr int kTurn = 200;  // milliseconds, after which cancellation is looked at

/// libcurl's handles are all `void`, so that only the function tells them apart.
template <auto Function>
struct Deleter {
    template <typename T>
    void operator()(T* handle) const {
        (void)Function(handle);
    }
};
using Easy = std::unique_ptr<CURL, Deleter<::curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, Deleter<::curl_multi_cleanup>>;
using List = std::unique_ptr<curl_slist, Deleter<::curl_slist_free_all>>;
using Url = std::unique_ptr<CURLU, Deleter<::curl_url_cleanup>>;

/// libcurl wants to be begun once, before any thread uses it, and says nothing of its own locks.
bool is_begun() {
    static const bool done = ::curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    return done;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string part_of(CURLU* url, CURLUPart part, unsigned flags) {
    char* text = nullptr;
    if (::curl_url_get(url, part, &text, flags) != CURLUE_OK) {
        return {};
    }
    std::string copy(text);
    ::curl_free(text);
    return copy;
}

/// Where `location` leads from `base`; empty where that is no URL.
std::string joined(const std::string& base, const std::string& location) {
    const Url url(::curl_url());
    if (::curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
        ::curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) {
        return {};
    }
    return part_of(url.get(), CURLUPART_URL, 0);
}

Error cancelled() { return {Code::Cancelled, "the request was cancelled"}; }

}  // namespace

struct HttpAnswer::State {
    // The list and the handles: libcurl keeps pointers to the list and to this.
    List headers_sent;
    Easy easy;
    Multi multi;
    std::string origin;
    std::string url;
    const std::atomic<bool>* is_cancelled = nullptr;
    std::map<std::string, std::string> headers;
    std::string body;
    std::size_t body_at = 0;
    long status = 0;
    bool has_headers = false;
    bool is_paused = false;
    bool is_done = false;
    CURLcode outcome = CURLE_OK;

    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    State(State&&) = delete;
    State& operator=(State&&) = delete;
    ~State() {
        if (multi && easy) {
            (void)::curl_multi_remove_handle(multi.get(), easy.get());
        }
    }

    static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* context) {
        auto& state = *static_cast<State*>(context);
        const std::string_view line(data, size * count);
        if (line.starts_with("HTTP/")) {
            state.headers.clear();  // of 100 Continue, or of a proxy
        }
        const std::size_t colon = line.find(':');
        if (colon != std::string_view::npos && state.headers.size() < kHeadersMax) {
            std::string name(line.substr(0, colon));
            std::ranges::transform(name, name.begin(), lower);
            std::string_view value = line.substr(colon + 1);
            value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
            value = value.substr(0, value.find_last_not_of(" \t\r\n") + 1);
            state.headers.insert_or_assign(std::move(name), std::string(value));
        }
        return size * count;
    }

    static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* context) {
        auto& state = *static_cast<State*>(context);
        state.has_headers = true;
        if (state.body.size() - state.body_at > kBufferMax) {
            state.is_paused = true;
            return CURL_WRITEFUNC_PAUSE;
        }
        state.body.erase(0, state.body_at);
        state.body_at = 0;
        state.body.append(data, size * count);
        return size * count;
    }

    /// Goes on until there is a byte of the body, or its end.
    Result<void> advance() {
        while (body_at == body.size() && !is_done) {
            if (is_cancelled != nullptr && is_cancelled->load(std::memory_order_relaxed)) {
                return cancelled();
            }
            if (std::exchange(is_paused, false)) {
                (void)::curl_easy_pause(easy.get(), CURLPAUSE_CONT);
            }
            int running = 0;
            if (::curl_multi_perform(multi.get(), &running) != CURLM_OK) {
                return Error(Code::Internal, "libcurl failed");
            }
            int left = 0;
            while (const CURLMsg* message = ::curl_multi_info_read(multi.get(), &left)) {
                if (message->msg == CURLMSG_DONE) {
                    is_done = true;
                    outcome = message->data.result;
                }
            }
            if (body_at == body.size() && !is_done) {
                (void)::curl_multi_poll(multi.get(), nullptr, 0, kTurn, nullptr);
            }
        }
        return {};
    }

    Error failure() const {
        // A certificate that is not trusted stays so; all else may pass.
        const Code code =
            outcome == CURLE_PEER_FAILED_VERIFICATION ? Code::PermissionDenied : Code::Unavailable;
        return {code, origin + ": " + ::curl_easy_strerror(outcome)};
    }

    template <typename T>
    void set(CURLoption option, T value) {
        (void)::curl_easy_setopt(easy.get(), option, value);
    }

    Result<void> set_tls(const TlsOptions& tls) {
        if (tls.skip_verify) {
            set(CURLOPT_SSL_VERIFYPEER, 0L);
            set(CURLOPT_SSL_VERIFYHOST, 0L);
        }
        std::string authorities;  // the system's are in a directory, which stays
        for (const std::string& path : tls.authorities) {
            const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
            authorities += TRY(read_all(file.ref(), kPemMax, path)) + "\n";
        }
        if (!authorities.empty()) {
            curl_blob blob{
                .data = authorities.data(), .len = authorities.size(), .flags = CURL_BLOB_COPY};
            set(CURLOPT_CAINFO_BLOB, &blob);
        }
        if (!tls.certificate.empty()) {
            set(CURLOPT_SSLCERT, tls.certificate.c_str());
            set(CURLOPT_SSLKEY, tls.key.c_str());
        }
        return {};
    }

    void add_header(const std::string& line) {
        headers_sent.reset(::curl_slist_append(headers_sent.release(), line.c_str()));
    }
};

std::string origin_of(std::string_view text) {
    const Url url(::curl_url());
    if (::curl_url_set(url.get(), CURLUPART_URL, std::string(text).c_str(), 0) != CURLUE_OK) {
        return {};
    }
    std::string origin = part_of(url.get(), CURLUPART_SCHEME, 0) + "://" +
                         part_of(url.get(), CURLUPART_HOST, 0) + ":" +
                         part_of(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
    std::ranges::transform(origin, origin.begin(), lower);
    return origin;
}

bool wait_for(std::chrono::milliseconds time, const std::atomic<bool>* is_cancelled) {
    const Multi nothing(::curl_multi_init());
    const auto end = std::chrono::steady_clock::now() + time;
    for (;;) {
        if (is_cancelled != nullptr && is_cancelled->load(std::memory_order_relaxed)) {
            return false;
        }
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            end - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            return true;
        }
        (void)::curl_multi_poll(nothing.get(), nullptr, 0,
                                static_cast<int>(std::min<std::int64_t>(left.count(), kTurn)),
                                nullptr);
    }
}

std::string percent_encoded(std::string_view text) {
    char* const encoded = ::curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
    std::string copy(encoded == nullptr ? "" : encoded);
    ::curl_free(encoded);
    return copy;
}

HttpAnswer::HttpAnswer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpAnswer::~HttpAnswer() = default;

long HttpAnswer::status() const { return state_->status; }

std::string HttpAnswer::header(const std::string& name) const {
    const auto found = state_->headers.find(name);
    return found == state_->headers.end() ? "" : found->second;
}

Result<std::unique_ptr<HttpAnswer>> HttpAnswer::get_once(const HttpRequest& request) {
    auto state = std::make_unique<State>();
    state->easy.reset(is_begun() ? ::curl_easy_init() : nullptr);
    state->multi.reset(::curl_multi_init());
    if (!state->easy || !state->multi) {
        return Error(Code::Internal, "libcurl is not available");
    }
    state->url = request.url;
    state->origin = origin_of(request.url);
    state->is_cancelled = request.is_cancelled;
    for (const std::string& header : request.headers) {
        state->add_header(header);
    }
    for (const std::string& header : request.private_headers) {
        state->add_header(header);
    }
    if (!request.authorization.empty()) {
        state->add_header("Authorization: " + request.authorization);
    }
    State* const self = state.get();
    self->set(CURLOPT_URL, request.url.c_str());
    self->set(CURLOPT_PROTOCOLS_STR, "http,https");
    self->set(CURLOPT_NOSIGNAL, 1L);
    self->set(CURLOPT_USERAGENT, "pepita");
    self->set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(kConnectMax.count()));
    self->set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    self->set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(kStallMax.count()));
    self->set(CURLOPT_HEADERFUNCTION, &State::on_header);
    self->set(CURLOPT_HEADERDATA, static_cast<void*>(self));
    self->set(CURLOPT_WRITEFUNCTION, &State::on_body);
    self->set(CURLOPT_WRITEDATA, static_cast<void*>(self));
    self->set(CURLOPT_HTTPHEADER, state->headers_sent.get());
    TRY(self->set_tls(request.tls));
    if (request.offset != 0) {
        self->set(CURLOPT_RANGE, (std::to_string(request.offset) + "-").c_str());
    }
    if (!request.form.empty()) {
        self->set(CURLOPT_COPYPOSTFIELDS, request.form.c_str());
    }
    if (::curl_multi_add_handle(state->multi.get(), state->easy.get()) != CURLM_OK) {
        return Error(Code::Internal, "libcurl failed");
    }
    TRY(state->advance());
    if (state->is_done && state->outcome != CURLE_OK && !state->has_headers) {
        return state->failure();
    }
    (void)::curl_easy_getinfo(state->easy.get(), CURLINFO_RESPONSE_CODE, &state->status);
    return std::unique_ptr<HttpAnswer>(new HttpAnswer(std::move(state)));
}

Result<std::unique_ptr<HttpAnswer>> HttpAnswer::get(const HttpRequest& request) {
    HttpRequest here = request;
    for (int redirects = 0;; ++redirects) {
        auto answer = TRY(get_once(here));
        const long status = answer->status();
        const std::string location = answer->header("location");
        const bool is_redirect =
            status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
        if (!is_redirect || location.empty()) {
            return answer;
        }
        if (redirects == kRedirectsMax) {
            return Error(Code::FailedPrecondition, origin_of(request.url) + ": more than " +
                                                       std::to_string(kRedirectsMax) +
                                                       " redirects");
        }
        const std::string target = joined(here.url, location);
        const std::string origin = origin_of(target);
        const bool is_allowed = origin.starts_with("https://") ||
                                (origin.starts_with("http://") && here.url.starts_with("http://"));
        if (!is_allowed) {
            return Error(Code::PermissionDenied, origin_of(here.url) + ": a redirect to '" +
                                                     printable(location.substr(0, 256)) +
                                                     "' is not followed");
        }
        if (origin != origin_of(here.url)) {
            here.authorization.clear();
            here.private_headers.clear();
            here.tls.certificate.clear();
        }
        here.url = target;
    }
}

Result<std::size_t> HttpAnswer::read(std::span<std::byte> into) {
    State& state = *state_;
    if (into.empty()) {
        return std::size_t{0};
    }
    TRY(state.advance());
    if (state.body_at == state.body.size()) {
        if (state.outcome != CURLE_OK) {
            return state.failure();
        }
        return std::size_t{0};
    }
    const std::span<const char> rest = std::span<const char>(state.body).subspan(state.body_at);
    const std::size_t count = std::min(rest.size(), into.size());
    std::ranges::copy(std::as_bytes(rest.first(count)), into.begin());
    state.body_at += count;
    return count;
}

}  // namespace pepita::storage::image
