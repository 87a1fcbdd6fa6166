#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/backing.h"
#include "storage/daemon/exporter.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {

/// The volumes of a node, and how they are attached. What it is asked for is done, and written down
/// in the state directory, when a call returns; a call that fails has changed nothing.
///
/// Thread: one, which waits for the kernel.
class Node {
public:
    static constexpr const char* kStateFile = "volumes.json";
    static constexpr std::size_t kVolumesMax = 4096;

    struct Parts {
        std::unique_ptr<Backing> backing;
        std::map<api::FrontEnd, std::unique_ptr<Exporter>> exporters;
        Fd state;  // the directory
    };

    /// Takes over what the state directory and the store say: serves again what was attached. What
    /// cannot be is logged and left out. Where one of the two does not know a volume, or they
    /// contradict each other, nothing is guessed.
    /// Errors: DataLoss for a state file that is not ours.
    static Result<std::unique_ptr<Node>> open(Parts parts);

    // Errors, beside those named: NotFound "volume 'x' does not exist"; FailedPrecondition for what
    // an attached (or not attached) volume does not allow; those of Backing and Exporter.

    /// Errors: AlreadyExists.
    Result<void> create(api::VolumeSpec spec);
    Result<std::string> attach(const std::string& name, const api::AttachSpec& how);
    Result<void> detach(const std::string& name);
    /// An attached volume only grows.
    Result<void> resize(const std::string& name, Bytes capacity);
    /// Of one moment, whoever writes meanwhile: what a file system has not written yet is not
    /// there.
    Result<void> snapshot(const std::string& name, FdRef file);
    /// Not while it is attached.
    Result<void> restore(const std::string& name, FdRef file);
    Result<void> remove(const std::string& name);
    std::vector<api::VolumeInfo> list() const;
    api::StorageStats stats() const;
    /// The cold tier: as ZramStore's.
    void mark_idle();
    Result<ZramCompaction> compact_idle(Pages budget);

    enum class Ending : std::uint8_t {
        Leave,  // the next open() goes on with what is attached; it stays written down
        Purge,  // nothing stays attached
    };
    /// Ends all front ends in order.
    void stop(Ending ending);

private:
    struct Volume {
        api::VolumeSpec spec;
        api::AttachSpec how;  // while there is an `exported`
        std::unique_ptr<Export> exported;
        /// False where the store has it, and what it is was not written down: a kill came before,
        /// or the list is gone. It is shown, and can be removed.
        bool is_listed = true;
    };

    explicit Node(Parts parts) : parts_(std::move(parts)) {}
    Result<Volume*> find(const std::string& name);
    /// Errors: FailedPrecondition where nobody knows what it is.
    Result<Volume*> find_listed(const std::string& name);
    Result<Exporter*> exporter_of(api::FrontEnd front_end) const;
    Result<std::unique_ptr<Export>> recover(const api::VolumeSpec& spec,
                                            const api::Attachment& before);
    void take_over(const std::vector<api::VolumeInfo>& before);
    void take_over_one(const api::VolumeInfo& info, const Backing::Kept* kept);
    void take_over_unlisted(const Backing::Kept& kept);
    void remove_strays();
    Result<void> save() const;

    Parts parts_;
    std::map<std::string, Volume> volumes_;
};

}  // namespace pepita::storage::daemon
