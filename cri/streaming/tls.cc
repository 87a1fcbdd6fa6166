#include "cri/streaming/tls.h"

#include <gnutls/gnutls.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

constexpr int kRoundsPerTurn = 16;  // so that one busy client does not keep the loop

Error tls_error(int code, std::string_view what) {
    return {Code::InvalidArgument, std::string(what) + ": " + ::gnutls_strerror(code)};
}

bool would_block(ssize_t code) { return code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED; }

// SAFETY: GnuTLS reads through this pointer and never writes, though its type says otherwise.
gnutls_datum_t datum(const std::string& text) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): GnuTLS's type, see above
    return {.data = reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
            .size = static_cast<unsigned>(text.size())};
}

}  // namespace

Result<std::unique_ptr<TlsIdentity>> TlsIdentity::create(const std::string& certificate,
                                                         const std::string& key) {
    std::unique_ptr<TlsIdentity> identity(new TlsIdentity());
    if (const int code = ::gnutls_certificate_allocate_credentials(&identity->credentials_);
        code != 0) {
        return tls_error(code, "TLS");
    }
    const gnutls_datum_t certificate_pem = datum(certificate);
    const gnutls_datum_t key_pem = datum(key);
    if (const int code = ::gnutls_certificate_set_x509_key_mem(
            identity->credentials_, &certificate_pem, &key_pem, GNUTLS_X509_FMT_PEM);
        code < 0) {
        return tls_error(code, "TLS certificate and key");
    }
    if (const int code = ::gnutls_priority_init(
            &identity->priorities_, "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.3", nullptr);
        code != 0) {
        return tls_error(code, "TLS versions");
    }
    return identity;
}

TlsIdentity::~TlsIdentity() {
    if (credentials_ != nullptr) {
        ::gnutls_certificate_free_credentials(credentials_);
    }
    if (priorities_ != nullptr) {
        ::gnutls_priority_deinit(priorities_);
    }
}

TlsRelay::TlsRelay(EventLoop& loop, Ends ends, OnDone on_done)
    : loop_(loop), ends_(std::move(ends)), on_done_(std::move(on_done)) {}

Result<std::unique_ptr<TlsRelay>> TlsRelay::start(EventLoop& loop, const TlsIdentity& identity,
                                                  Ends ends,
                                                  std::chrono::milliseconds handshake_timeout,
                                                  OnDone on_done) {
    std::unique_ptr<TlsRelay> relay(new TlsRelay(loop, std::move(ends), std::move(on_done)));
    TRY(relay->open(identity));
    relay->timer_ = loop.after(handshake_timeout, [self = relay.get()] { self->done(); });
    relay->wait();
    return relay;
}

Result<void> TlsRelay::open(const TlsIdentity& identity) {
    if (const int code =
            ::gnutls_init(&session_, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
        code != 0) {
        return tls_error(code, "TLS session");
    }
    ::gnutls_priority_set(session_, identity.priorities_);
    ::gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, identity.credentials_);
    ::gnutls_transport_set_int(session_, ends_.client.ref().number());
    return {};
}

TlsRelay::~TlsRelay() {
    if (session_ != nullptr) {
        ::gnutls_deinit(session_);
    }
}

void TlsRelay::advance() {
    if (stage_ == Stage::Handshake) {
        const Progress progress = shake_hands();
        if (progress != Progress::Moved) {
            return progress == Progress::Failed ? done() : wait();
        }
        timer_.cancel();
        stage_ = Stage::Relay;
    }
    for (int round = 0; round < kRoundsPerTurn; ++round) {
        const Progress in = to_plain();
        const Progress out = to_client();
        if (in == Progress::Failed || out == Progress::Failed ||
            (client_ended_ && plain_ended_ && outward_.empty())) {
            return done();
        }
        if (in == Progress::Blocked && out == Progress::Blocked) {
            return wait();
        }
    }
    wait();
    // Not by epoll, which knows nothing of what GnuTLS holds.
    timer_ = loop_.after(std::chrono::milliseconds(0), [this] { advance(); });
}

TlsRelay::Progress TlsRelay::shake_hands() {
    const int code = ::gnutls_handshake(session_);
    if (code == GNUTLS_E_SUCCESS) {
        return Progress::Moved;
    }
    return ::gnutls_error_is_fatal(code) != 0 ? Progress::Failed : Progress::Blocked;
}

TlsRelay::Progress TlsRelay::to_plain() {
    if (inward_.empty()) {
        if (client_ended_) {
            return Progress::Blocked;
        }
        std::array<char, kRecordSize> record{};
        const ssize_t got = ::gnutls_record_recv(session_, record.data(), record.size());
        if (would_block(got)) {
            return Progress::Blocked;
        }
        // Go and others close without a farewell.
        if (got == 0 || got == GNUTLS_E_PREMATURE_TERMINATION) {
            client_ended_ = true;
            ::shutdown(ends_.plain.ref().number(), SHUT_WR);
            return Progress::Moved;
        }
        if (got < 0) {
            return ::gnutls_error_is_fatal(static_cast<int>(got)) != 0 ? Progress::Failed
                                                                       : Progress::Moved;
        }
        inward_.assign(record.data(), static_cast<std::size_t>(got));
    }
    const ssize_t put = ::send(ends_.plain.ref().number(), inward_.data(), inward_.size(),
                               MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0) {
        return errno == EAGAIN ? Progress::Blocked : Progress::Failed;
    }
    inward_.erase(0, static_cast<std::size_t>(put));
    return Progress::Moved;
}

TlsRelay::Progress TlsRelay::to_client() {
    if (outward_.empty()) {
        if (plain_ended_) {
            return Progress::Blocked;
        }
        std::array<char, kRecordSize> record{};
        const ssize_t got =
            ::recv(ends_.plain.ref().number(), record.data(), record.size(), MSG_DONTWAIT);
        if (got < 0) {
            return errno == EAGAIN ? Progress::Blocked : Progress::Failed;
        }
        if (got == 0) {
            plain_ended_ = true;
            ::gnutls_bye(session_, GNUTLS_SHUT_WR);  // best effort
            ::shutdown(ends_.client.ref().number(), SHUT_WR);
            return Progress::Moved;
        }
        outward_.assign(record.data(), static_cast<std::size_t>(got));
    }
    const ssize_t put = ::gnutls_record_send(session_, outward_.data(), outward_.size());
    if (would_block(put)) {
        return Progress::Blocked;  // to be called again with the same bytes
    }
    if (put < 0) {
        return Progress::Failed;
    }
    outward_.erase(0, static_cast<std::size_t>(put));
    return Progress::Moved;
}

void TlsRelay::wait() {
    const bool is_shaking = stage_ == Stage::Handshake;
    const bool writes =
        is_shaking ? ::gnutls_record_get_direction(session_) == 1 : !outward_.empty();
    const bool reads = is_shaking ? !writes : inward_.empty() && !client_ended_;
    const bool takes = !is_shaking && outward_.empty() && !plain_ended_;
    watch(client_watch_, client_events_, ends_.client.ref(),
          (reads ? EPOLLIN : 0U) | (writes ? EPOLLOUT : 0U));
    watch(plain_watch_, plain_events_, ends_.plain.ref(),
          (takes ? EPOLLIN : 0U) | (inward_.empty() ? 0U : EPOLLOUT));
}

// No watch at all for no events: epoll would report a hang-up again and again.
void TlsRelay::watch(EventLoop::Watch& watch, std::uint32_t& current, FdRef fd,
                     std::uint32_t events) {
    if (std::exchange(current, events) == events) {
        return;
    }
    if (events == 0) {
        return watch.cancel();
    }
    if (watch) {
        return watch.set_events(events);
    }
    auto made = loop_.watch(fd, events, [this](std::uint32_t) { advance(); });
    if (!made) {
        return done();
    }
    watch = *std::move(made);
}

void TlsRelay::done() {
    if (std::exchange(stage_, Stage::Done) == Stage::Done) {
        return;
    }
    client_watch_.cancel();
    plain_watch_.cancel();
    timer_.cancel();
    done_ = loop_.after(std::chrono::milliseconds(0), [this] {
        OnDone on_done = std::move(on_done_);  // outlives us
        on_done();
    });
}

}  // namespace pepita::cri
