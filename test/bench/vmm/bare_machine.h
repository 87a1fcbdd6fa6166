#pragma once

#include <cstdint>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

/// The least that runs a guest of a few instructions on KVM: what a machine costs at least.
namespace pepita::bench {

/// In which order KVM is asked for the parts of a machine.
enum class CreationOrder : std::uint8_t {
    Ours,         // memory, split interrupt controller, vCPU, CPUID, MSRs
    Firecracker,  // interrupt controller, vCPU, memory, CPUID, MSRs
};

/// One vCPU and its RAM, without threads and without devices: ports and memory that is not there
/// read ones.
class BareMachine {
public:
    static Result<BareMachine> create(FdRef kvm, Bytes memory, CreationOrder order);

    /// Puts an ELF of tiny::kernel() into RAM and runs it until it powers off.
    Result<void> run(std::span<const std::byte> kernel);

private:
    BareMachine(Fd vm, Fd vcpu, Mapping ram, Mapping shared)
        : vm_(std::move(vm)),
          vcpu_(std::move(vcpu)),
          ram_(std::move(ram)),
          shared_(std::move(shared)) {}

    Fd vm_;
    Fd vcpu_;
    Mapping ram_;
    Mapping shared_;
};

}  // namespace pepita::bench
