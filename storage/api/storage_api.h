#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/on_result.h"

namespace pepita::storage::api {

/// What clients ask of pepita-storage, the node's block storage, without a word of protobuf.
/// Clients: pepita, later pepita-shim and pepita-cri.

inline constexpr const char* kStorageSocket = "/run/pepita/storage/storage.sock";

/// What a volume is kept in.
enum class VolumeKind : std::uint8_t {
    Zram,     // the store: compressed memory
    File,     // a raw file or block device
    Overlay,  // the store, over a file that is only read
};
std::string_view to_string(VolumeKind kind);
std::optional<VolumeKind> volume_kind(std::string_view text);

struct VolumeSpec {
    std::string name;
    VolumeKind kind = VolumeKind::Zram;
    Bytes capacity;                  // 0 for File and Overlay: as long as the file is; an Overlay
                                     // may be longer, and ends with zeros
    std::string domain = "default";  // of trust: whose equal pages may be shared
    std::string file;                // absolute
    bool direct = false;             // of File: past the page cache (O_DIRECT)
    friend bool operator==(const VolumeSpec&, const VolumeSpec&) = default;
};

enum class FrontEnd : std::uint8_t { Ublk, VhostUser };
std::string_view to_string(FrontEnd front_end);
std::optional<FrontEnd> front_end(std::string_view text);

struct AttachSpec {
    static constexpr std::uint32_t kQueuesMax = 64;
    static constexpr std::uint32_t kDepthMax = 4096;
    static constexpr std::uint32_t kDepthUsual = 128;

    FrontEnd front_end = FrontEnd::VhostUser;
    std::uint32_t queues = 1;
    /// Requests of a queue under way, of ublk; 0 in a client's call: kDepthUsual. A vhost-user
    /// front end decides itself: always 0.
    std::uint32_t depth = 0;
    bool read_only = false;
    friend bool operator==(const AttachSpec&, const AttachSpec&) = default;
};

/// A front end that serves a volume: the path of its device or of its socket.
struct Attachment {
    AttachSpec spec;
    std::string path;
    friend bool operator==(const Attachment&, const Attachment&) = default;
};

/// What is stored, in pages of 4 KiB. See storage/zram_store.h.
struct PageCounts {
    std::uint64_t stored = 0;
    std::uint64_t zero = 0;
    std::uint64_t same = 0;
    std::uint64_t content = 0;
    std::uint64_t raw = 0;
    Bytes packed;  // what `content` is packed to, each page counted by itself
    friend bool operator==(const PageCounts&, const PageCounts&) = default;
};

struct VolumeInfo {
    VolumeSpec spec;
    std::optional<Attachment> attachment;
    PageCounts pages;  // of a File: none
    friend bool operator==(const VolumeInfo&, const VolumeInfo&) = default;
};

/// What a store, or one domain of it, holds and takes.
struct StorageUse {
    std::string domain;  // empty: the whole store
    PageCounts pages;
    std::uint64_t objects = 0;  // different contents
    std::uint64_t shared = 0;   // pages beyond the first of each
    Bytes payload;
    std::uint64_t cold = 0;  // of `objects`: idle, and packed smaller
    Bytes cold_payload;      // of `payload`: theirs
    Bytes used;
    Bytes metadata;
    Bytes limit;
    friend bool operator==(const StorageUse&, const StorageUse&) = default;
};

struct StorageStats {
    StorageUse store;
    std::vector<StorageUse> domains;
    friend bool operator==(const StorageStats&, const StorageStats&) = default;
};

/// Errors: InvalidArgument for what is not 1 to 63 of [A-Za-z0-9._-], or begins with a dot: a name
/// becomes part of paths. `what` is "name" or "domain".
Result<void> check_storage_name(std::string_view name, std::string_view what);

/// The client's end. Every method answers once, on the channel's thread.
class StorageClient {
public:
    explicit StorageClient(std::shared_ptr<runtime::Channel> channel)
        : channel_(std::move(channel)) {}

    void create(const VolumeSpec& volume, runtime::OnResult<void> done);
    /// Gives the path of the device or of the socket.
    void attach(const std::string& name, const AttachSpec& how,
                runtime::OnResult<std::string> done);
    void detach(const std::string& name, runtime::OnResult<void> done);
    void resize(const std::string& name, Bytes capacity, runtime::OnResult<void> done);
    /// `file` is borrowed for the call, and is written (read) by the daemon.
    void snapshot(const std::string& name, FdRef file, runtime::OnResult<void> done);
    void restore(const std::string& name, FdRef file, runtime::OnResult<void> done);
    void remove(const std::string& name, runtime::OnResult<void> done);
    void list(runtime::OnResult<std::vector<VolumeInfo>> done);
    void stats(runtime::OnResult<StorageStats> done);

private:
    void call_named(std::string_view method, const std::string& name, std::span<const FdRef> fds,
                    runtime::OnResult<void> done);
    std::shared_ptr<runtime::Channel> channel_;
};

/// The daemon's end. Names and domains are checked; numbers of queues and depths are in range.
class StorageService {
public:
    StorageService() = default;
    StorageService(const StorageService&) = delete;
    StorageService& operator=(const StorageService&) = delete;
    StorageService(StorageService&&) = delete;
    StorageService& operator=(StorageService&&) = delete;
    virtual ~StorageService() = default;
    virtual void create(VolumeSpec volume, runtime::OnResult<void> done) = 0;
    virtual void attach(std::string name, AttachSpec how, runtime::OnResult<std::string> done) = 0;
    virtual void detach(std::string name, runtime::OnResult<void> done) = 0;
    virtual void resize(std::string name, Bytes capacity, runtime::OnResult<void> done) = 0;
    virtual void snapshot(std::string name, Fd file, runtime::OnResult<void> done) = 0;
    virtual void restore(std::string name, Fd file, runtime::OnResult<void> done) = 0;
    virtual void remove(std::string name, runtime::OnResult<void> done) = 0;
    virtual void list(runtime::OnResult<std::vector<VolumeInfo>> done) = 0;
    virtual void stats(runtime::OnResult<StorageStats> done) = 0;
};

/// As the task API's. What is wrong with a request by itself is InvalidArgument and reaches no
/// service.
void dispatch(StorageService& service, runtime::Channel::Call call);

/// JSON for people's scripts, with a newline at its end.
std::string to_json(std::span<const VolumeInfo> volumes);
std::string to_json(const StorageStats& stats);

/// The daemon's own list of volumes: their pages are not in it.
std::string storage_state_text(std::span<const VolumeInfo> volumes);
/// Errors: DataLoss for what storage_state_text() has not made.
Result<std::vector<VolumeInfo>> parse_storage_state(std::string_view text);

}  // namespace pepita::storage::api
