#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/image/byte_source.h"

namespace pepita::storage::image {

/// Whom to trust, and who one is. Names of files in PEM.
struct TlsOptions {
    std::vector<std::string> authorities;  // besides the system's
    std::string certificate;
    std::string key;
    bool skip_verify = false;
};

struct HttpRequest {
    std::string url;
    std::vector<std::string> headers;  // "Name: value"
    std::string form;                  // POST, where it is not empty
    std::uint64_t offset = 0;          // Range, where it is not 0
    /// These go to the URL's own origin only, and to no redirect's.
    std::vector<std::string> private_headers;
    std::string authorization;  // "Bearer …", "Basic …"; empty: none
    TlsOptions tls;
    /// Borrowed; where it becomes true, the request ends with Cancelled. Null: never.
    const std::atomic<bool>* is_cancelled = nullptr;
};

/// An answer, whose body comes as it is read. HTTP and HTTPS, by the proxy that HTTPS_PROXY,
/// http_proxy and NO_PROXY name. Redirects are followed, at most so many, from HTTPS to HTTPS only,
/// and without the authorization where they lead to another host, port or scheme.
class HttpAnswer final : public ByteSource {
public:
    static constexpr int kRedirectsMax = 10;
    static constexpr std::chrono::seconds kConnectMax{30};
    /// Without a byte, it has failed.
    static constexpr std::chrono::seconds kStallMax{30};

    /// Waits for the status and the headers. Errors: Unavailable where nothing answers;
    /// PermissionDenied for a certificate that is not trusted, and a redirect to elsewhere than
    /// HTTP; FailedPrecondition for too many redirects; Cancelled.
    static Result<std::unique_ptr<HttpAnswer>> get(const HttpRequest& request);
    HttpAnswer(const HttpAnswer&) = delete;
    HttpAnswer& operator=(const HttpAnswer&) = delete;
    HttpAnswer(HttpAnswer&&) = delete;
    HttpAnswer& operator=(HttpAnswer&&) = delete;
    ~HttpAnswer() override;

    long status() const;
    /// By its name in lower case; empty: none. Of several the last.
    std::string header(const std::string& name) const;
    /// Errors: Unavailable where the connection fails before the body's end; Cancelled.
    Result<std::size_t> read(std::span<std::byte> into) override;

private:
    struct State;
    explicit HttpAnswer(std::unique_ptr<State> state);
    static Result<std::unique_ptr<HttpAnswer>> get_once(const HttpRequest& request);
    std::unique_ptr<State> state_;
};

/// "https://host:port" of a URL, in lower case; empty where it has none.
std::string origin_of(std::string_view url);

/// Waits, unless it is cancelled. False where it was.
bool wait_for(std::chrono::milliseconds time, const std::atomic<bool>* is_cancelled);

std::string percent_encoded(std::string_view text);

}  // namespace pepita::storage::image
