#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "vmm/device_config.h"

namespace pepita::vmm {

/// A KVM machine. Absent where pepita-vmm only serves devices over vhost-user.
struct KvmConfig {
    static constexpr Bytes kMemoryMin = 16_MiB;
    static constexpr Bytes kMemoryMax{std::uint64_t{64} << 30U};
    static constexpr std::uint32_t kVcpusMax = 8;

    NumberedFd kvm;     // open("/dev/kvm")
    NumberedFd kernel;  // an uncompressed ELF vmlinux with a PVH entry
    std::optional<NumberedFd> initrd;
    std::string command_line;
    Bytes memory = 512_MiB;  // whole MiB
    /// The guest's memory, a file of that size that others may map too. Without it the machine
    /// makes its own.
    std::optional<NumberedFd> memory_file;
    std::uint32_t vcpus = 1;
    /// Where the serial console writes, for debugging. Without it there is no serial port.
    std::optional<NumberedFd> console;
};

/// All that pepita-vmm is told at its start. It owns the descriptors that it names.
struct MachineConfig {
    static constexpr std::size_t kDevicesMax = 62;

    std::optional<KvmConfig> kvm;
    std::vector<DeviceConfig> devices;  // in the order in which a guest enumerates them
    /// A connected SOCK_SEQPACKET socket on which ControlRequests come.
    std::optional<NumberedFd> control;
};

/// The command line that makes pepita-vmm this machine, program name excluded:
///   --machine kvm=3,kernel=4,initrd=5,memory-mib=512,memory=6,vcpus=1,command-line=...[,console=2]
///   --device disk,id=root,fd=6,read-only[,vhost-user=9]
///   --device disk,id=scratch,fd=12,store=1024
///   --device vsock,id=vsock,fd=7,cid=3,prefix=vsock.sock  --device entropy,id=rng
///   --device fs,id=files,fd=13,tag=pod  --control 8
std::vector<std::string> to_arguments(const MachineConfig& config);

/// The reverse. The descriptors have numbers alone, see claim_fds(). Errors: InvalidArgument naming
/// the option and what is wrong with it.
Result<MachineConfig> parse_arguments(std::span<const std::string> arguments);

/// What may be requested of a running pepita-vmm. One message on the control socket is one request,
/// a line of the same grammar; the reply is one line, "ok", "ok ADDRESS" or "error REASON".
///   --device disk,id=data,fd=0    attaches; `fd` counts the descriptors that came with the line.
///                                 The reply has the PCI address, unless the device serves a front
///                                 end. The guest finds it when it rescans its bus.
///   --detach data                 refused while the guest's driver uses the device
///   --resize id=data              the disk has the size of its file from now on
///   --pause  --resume             of the vCPUs
struct DetachRequest {
    std::string id;
};
struct ResizeRequest {
    std::string id;
    std::optional<Bytes> size;  // whole MiB; for a device whose size is its own
};
struct PauseRequest {};
struct ResumeRequest {};
using ControlRequest =
    std::variant<DeviceConfig, DetachRequest, ResizeRequest, PauseRequest, ResumeRequest>;
inline constexpr std::size_t kControlLineMax = 4096;

std::string to_line(const ControlRequest& request);
/// Errors: InvalidArgument naming the option.
Result<ControlRequest> parse_line(std::string_view line);

/// Each descriptor that `config` names.
void for_each_fd(MachineConfig& config, const std::function<void(NumberedFd&)>& call);

/// Gives the descriptors the numbers from `first` on. Returns the number behind the last.
int number_fds(MachineConfig& config, int first);
int number_fds(DeviceConfig& device, int first);

/// Owner of the descriptor with a number that a line names; an Fd that is not open where there is
/// none. Called once for each number.
using FdSource = std::function<Fd(int number)>;

/// Fills in the descriptors of a parsed text. Errors: InvalidArgument where a number is named
/// twice, or `source` has none for it.
Result<void> claim_fds(MachineConfig& config, const FdSource& source);
Result<void> claim_fds(DeviceConfig& device, const FdSource& source);

/// How a machine ended; pepita-vmm's exit status.
enum class ExitReason : std::uint8_t {
    PowerOff = 0,
    InternalError = 1,  // the reason stands on standard error
    Usage = 2,
    Reset = 10,
    TripleFault = 11,
    GuestPanic = 12,
    FrontEndGone = 13,  // vhost-user only: the front end closed its connection
};

}  // namespace pepita::vmm
