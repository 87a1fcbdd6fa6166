#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

struct gnutls_certificate_credentials_st;
struct gnutls_priority_st;
struct gnutls_session_int;

namespace pepita::cri {

/// The certificate, its key, and TLS 1.2 and 1.3.
class TlsIdentity {
public:
    /// Both PEM. Errors: InvalidArgument, in GnuTLS's words.
    static Result<std::unique_ptr<TlsIdentity>> create(const std::string& certificate,
                                                       const std::string& key);
    TlsIdentity(const TlsIdentity&) = delete;
    TlsIdentity& operator=(const TlsIdentity&) = delete;
    TlsIdentity(TlsIdentity&&) = delete;
    TlsIdentity& operator=(TlsIdentity&&) = delete;
    ~TlsIdentity();

private:
    friend class TlsRelay;
    TlsIdentity() = default;

    gnutls_certificate_credentials_st* credentials_ = nullptr;
    gnutls_priority_st* priorities_ = nullptr;
};

/// Encrypts between a client's socket and a plain one. libmicrohttpd can do that too, but moves an
/// upgraded connection's bytes through what is left of a small buffer, a few at a time: 50 KB/s
/// were seen (0.9.75). At most one record is held in each direction.
class TlsRelay {
public:
    static constexpr std::size_t kRecordSize = std::size_t{16} * 1024;

    struct Ends {
        Fd client;
        Fd plain;
    };
    using OnDone = std::move_only_function<void()>;

    /// `identity` is borrowed. `on_done` is called once, not from within, and may destroy the
    /// relay: both ends have closed, or the client failed or sent no handshake in time.
    static Result<std::unique_ptr<TlsRelay>> start(EventLoop& loop, const TlsIdentity& identity,
                                                   Ends ends,
                                                   std::chrono::milliseconds handshake_timeout,
                                                   OnDone on_done);
    TlsRelay(const TlsRelay&) = delete;
    TlsRelay& operator=(const TlsRelay&) = delete;
    TlsRelay(TlsRelay&&) = delete;
    TlsRelay& operator=(TlsRelay&&) = delete;
    ~TlsRelay();

private:
    enum class Stage : std::uint8_t { Handshake, Relay, Done };
    enum class Progress : std::uint8_t { Moved, Blocked, Failed };

    TlsRelay(EventLoop& loop, Ends ends, OnDone on_done);
    Result<void> open(const TlsIdentity& identity);
    void advance();
    Progress shake_hands();
    Progress to_plain();
    Progress to_client();
    void wait();
    void watch(EventLoop::Watch& watch, std::uint32_t& current, FdRef fd, std::uint32_t events);
    void done();

    EventLoop& loop_;
    Ends ends_;
    OnDone on_done_;
    gnutls_session_int* session_ = nullptr;
    Stage stage_ = Stage::Handshake;
    std::string inward_;   // decrypted, for the plain end
    std::string outward_;  // for the client; what GnuTLS could not send yet is sent again
    bool client_ended_ = false;
    bool plain_ended_ = false;
    EventLoop::Watch client_watch_;
    EventLoop::Watch plain_watch_;
    std::uint32_t client_events_ = 0;
    std::uint32_t plain_events_ = 0;
    EventLoop::Timer timer_;  // the handshake's deadline, then more work at once
    EventLoop::Timer done_;
};

}  // namespace pepita::cri
