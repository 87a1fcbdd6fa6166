#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/api/storage_api.h"

namespace pepita::storage {
class Disk;
}

namespace pepita::storage::daemon {

/// A disk that is served: while this lives, requests are answered, on threads of its own.
class Export {
public:
    Export() = default;
    Export(const Export&) = delete;
    Export& operator=(const Export&) = delete;
    Export(Export&&) = delete;
    Export& operator=(Export&&) = delete;
    /// Ends serving in whatever way it can.
    virtual ~Export() = default;

    /// The device's, or the socket's.
    virtual std::string path() const = 0;
    /// Ends serving in order: what is under way is answered, and nothing is left behind.
    virtual Result<void> stop() = 0;
    /// Ends serving for now: what the front end asks waits, as far as it can, until recover() of
    /// the next process.
    virtual Result<void> leave() = 0;
    /// Tells the front end that the disk's capacity is another.
    virtual Result<void> resized() = 0;
};

/// One kind of front end. Thread: that of the Node.
class Exporter {
public:
    Exporter() = default;
    Exporter(const Exporter&) = delete;
    Exporter& operator=(const Exporter&) = delete;
    Exporter(Exporter&&) = delete;
    Exporter& operator=(Exporter&&) = delete;
    virtual ~Exporter() = default;

    /// Where it fails, nothing is left.
    virtual Result<std::unique_ptr<Export>> attach(const std::string& name,
                                                   const api::AttachSpec& how,
                                                   std::shared_ptr<Disk> disk) = 0;
    /// Goes on with what another process has served until it ended; where nothing of that is left,
    /// attaches anew, at the same path.
    virtual Result<std::unique_ptr<Export>> recover(const std::string& name,
                                                    const api::Attachment& before,
                                                    std::shared_ptr<Disk> disk) = 0;
    /// Takes away what a daemon with this state directory has left, but for what is at `exported`:
    /// a kill may come before an attachment is written down. What cannot be is logged.
    virtual void remove_strays(const std::vector<std::string>& /*exported*/) {}
};

}  // namespace pepita::storage::daemon
