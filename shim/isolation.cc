#include "shim/isolation.h"

#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/result.h"
#include "runtime/pod_spec.h"
#include "vmm/host/kvm_probe.h"

namespace pepita::shim {

std::string_view to_string(Isolation isolation) {
    switch (isolation) {
        case Isolation::Kvm:
            return "kvm";
        case Isolation::Tcg:
            return "tcg";
        case Isolation::Process:
            return "process";
    }
    std::unreachable();
}

ChosenIsolation choose_isolation(runtime::IsolationChoice choice) {
    using runtime::IsolationChoice;
    switch (choice) {
        case IsolationChoice::Kvm:
            return {.isolation = Isolation::Kvm, .reason = "asked for"};
        case IsolationChoice::Tcg:
            return {.isolation = Isolation::Tcg, .reason = "asked for"};
        case IsolationChoice::Process:
            return {.isolation = Isolation::Process, .reason = "asked for"};
        case IsolationChoice::Auto:
            break;
    }
    const Result<vmm::KvmProbe> probe = vmm::probe_kvm();
    return {.isolation = probe && probe->is_usable() ? Isolation::Kvm : Isolation::Tcg,
            .reason = "/dev/kvm: " + vmm::describe(probe)};
}

}  // namespace pepita::shim
