#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"

namespace pepita::runtime {

/// What clients ask of pepita-shim that containerd has no call for (service pepita.pod.v1.Pod),
/// without a word of protobuf. Client: pepita-cri.

/// Forms of StreamEnd::path (runtime/task_api.h) for streams that the shim keeps itself.
///
/// Of output: the container's log in the CRI's format at an absolute path, the same for both
/// streams. Attachers get a copy.
inline constexpr const char* kLogPrefix = "cri-log://";
/// Of output: for attachers alone; what nobody is attached for is lost. Of input: what attachers
/// send, and open for as long as the process runs.
inline constexpr const char* kKeptStream = "attach:";
/// Of input: the same until one attacher's input has ended; then the process's ends, too (CRI's
/// stdin_once).
inline constexpr const char* kKeptStreamOnce = "attach:once";

/// Somebody who wants to see and feed a container's own process. Each stream may be none: an Fd
/// that is not open. `in` and `out` may be of one socket.
struct AttachRequest {
    std::string container;
    Fd in;   // what comes from here the process reads; dropped where its input is not kept
    Fd out;  // of a process with a terminal, all that comes from that
    Fd err;
};

/// The client's end. Every method answers once, on the channel's thread.
class PodClient {
public:
    explicit PodClient(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}

    /// Opens the log's path anew, and makes the file: lines written from then on are there, those
    /// before it in the old file, none in both. FailedPrecondition where the container does not
    /// run, or has no log; the old file stays in use where the new one cannot be opened.
    void reopen_log(const std::string& container, OnResult<void> done);
    /// Answers when all output from then on is copied to the descriptors. They are closed when the
    /// process is over and all of it has been passed on, with the container's deletion, or when
    /// they are too slow: an attacher neither holds a container back nor misses a byte in between.
    /// FailedPrecondition where the container does not run, or the shim does not keep its streams.
    void attach(AttachRequest request, OnResult<void> done);
    /// Joins a connected stream socket with a new connection to `port` of the guest's 127.0.0.1, or
    /// else of its ::1. Answers when that is made; the rest ends when both sides have ended.
    /// Unavailable where nobody listens there.
    void connect(std::uint16_t port, Fd socket, OnResult<void> done);
    /// Who a container's own process is when it begins, as the container's files say.
    void user(const std::string& container, OnResult<UserIds> done);

private:
    std::shared_ptr<Channel> channel_;
};

/// The shim's end.
class PodService {
public:
    PodService() = default;
    PodService(const PodService&) = delete;
    PodService& operator=(const PodService&) = delete;
    PodService(PodService&&) = delete;
    PodService& operator=(PodService&&) = delete;
    virtual ~PodService() = default;
    virtual void reopen_log(std::string container, OnResult<void> done) = 0;
    virtual void attach(AttachRequest request, OnResult<void> done) = 0;
    virtual void connect_port(std::uint16_t port, Fd socket, OnResult<void> done) = 0;
    virtual void user(std::string container, OnResult<UserIds> done) = 0;
};

/// Whether a call is one of this service.
bool is_pod_call(const Channel::Call& call);

/// As the task API's.
void dispatch(PodService& service, Channel::Call call);

}  // namespace pepita::runtime
