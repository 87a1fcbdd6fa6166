#pragma once

#include <memory>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "shim/jail.h"

namespace pepita::shim {

/// <root>/<id>/: what a pod has in the host's file system, and nothing else does.
///   shim.sock               where clients find the shim
///   state.json              for `pepita-run state` and `list`
///   machine/                all that pepita-vmm sees
///   machine/vsock.sock      the guest's vsock: "CONNECT <port>\n"
///   machine/vsock.sock_1024 where the guest says that it is ready
/// It goes with this object.
class PodDirectory {
public:
    /// Errors: AlreadyExists where the name is taken.
    static Result<std::unique_ptr<PodDirectory>> create(const std::string& root,
                                                        const std::string& id, JailUser user);
    PodDirectory(const PodDirectory&) = delete;
    PodDirectory& operator=(const PodDirectory&) = delete;
    PodDirectory(PodDirectory&&) = delete;
    PodDirectory& operator=(PodDirectory&&) = delete;
    ~PodDirectory();

    const std::string& path() const { return path_; }
    FdRef fd() const { return fd_.ref(); }
    std::string machine_path() const { return path_ + "/machine"; }
    FdRef machine_fd() const { return machine_fd_.ref(); }

    /// A listener in machine/ that the jailed processes may connect to.
    Result<Fd> listen_in_machine(const std::string& name, JailUser user) const;

private:
    PodDirectory(Fd parent, std::string id, std::string path)
        : parent_(std::move(parent)), id_(std::move(id)), path_(std::move(path)) {}

    Fd parent_;
    std::string id_;
    std::string path_;
    Fd fd_;
    Fd machine_fd_;
};

}  // namespace pepita::shim
