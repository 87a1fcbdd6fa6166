#pragma once

#include <memory>
#include <optional>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/state.h"
#include "shim/jail.h"

namespace pepita::shim {

/// <root>/<name>/: what a pod, or one more container in it, has in the host's file system, and
/// nothing else does.
///   shim.sock               where clients find the shim
///   state.json              of the container of this name, if there is one
///   machine/                all that pepita-vmm sees
///   machine/vsock.sock      the guest's vsock: "CONNECT <port>\n"
///   machine/vsock.sock_1024 where the guest says that it is ready
/// It appears whole, with its first state and its socket, and is removed with this object. While
/// this object lives its directory is locked, so that the directory of a shim that was killed is
/// told from one that is in use. Only root can open it, so nobody else can take the lock.
class PodDirectory {
public:
    struct Options {
        std::string root;
        std::string name;
        std::optional<runtime::ContainerState> state;  // the first one
        std::optional<JailUser> machine;               // whose machine/ is; none: no such directory
    };
    /// Removes a directory of that name that a killed shim left before its container was created.
    /// Errors: AlreadyExists where the name is taken.
    static Result<std::unique_ptr<PodDirectory>> create(const Options& options);
    PodDirectory(const PodDirectory&) = delete;
    PodDirectory& operator=(const PodDirectory&) = delete;
    PodDirectory(PodDirectory&&) = delete;
    PodDirectory& operator=(PodDirectory&&) = delete;
    ~PodDirectory();

    const std::string& path() const { return path_; }
    FdRef fd() const { return fd_.ref(); }
    std::string machine_path() const { return path_ + "/machine"; }
    FdRef machine_fd() const { return machine_fd_.ref(); }

    /// The listening socket; once.
    Fd take_listener() { return std::move(listener_); }

    /// A listener in machine/ that the jailed processes may connect to.
    Result<Fd> listen_in_machine(const std::string& name) const;

    /// Whose machine/ is. Only where there is one.
    JailUser machine_user() const { return machine_user_; }

    /// The container of this name is deleted, and the pod lives on.
    void remove_state() const;

private:
    PodDirectory(Fd parent, std::string name, std::string path)
        : parent_(std::move(parent)), name_(std::move(name)), path_(std::move(path)) {}
    Result<void> fill(const Options& options);
    Result<void> appear(const std::string& name);

    Fd parent_;
    std::string name_;  // what the directory has at the moment
    std::string path_;
    Fd fd_;
    Fd machine_fd_;
    JailUser machine_user_{};
    Fd listener_;
};

}  // namespace pepita::shim
