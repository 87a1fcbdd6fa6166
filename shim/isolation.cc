#include "shim/isolation.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "vmm/kvm_probe.h"

namespace pepita::shim {

std::string_view to_string(Isolation isolation) {
    switch (isolation) {
        case Isolation::Kvm:
            return "kvm";
        case Isolation::Tcg:
            return "tcg";
    }
    std::unreachable();
}

std::optional<IsolationChoice> isolation_choice(std::string_view name) {
    if (name == "auto") {
        return IsolationChoice::Auto;
    }
    if (name == "kvm") {
        return IsolationChoice::Kvm;
    }
    if (name == "tcg") {
        return IsolationChoice::Tcg;
    }
    return std::nullopt;
}

Result<ChosenIsolation> choose_isolation(IsolationChoice choice) {
    if (choice == IsolationChoice::Tcg) {
        return ChosenIsolation{.isolation = Isolation::Tcg, .reason = "asked for"};
    }
    const Result<vmm::KvmProbe> probe = vmm::probe_kvm();
    const std::string said = "/dev/kvm: " + vmm::describe(probe);
    if (probe && probe->is_usable()) {
        return ChosenIsolation{.isolation = Isolation::Kvm, .reason = said};
    }
    if (choice == IsolationChoice::Kvm) {
        return Error(Code::FailedPrecondition, "isolation 'kvm': " + said);
    }
    return ChosenIsolation{.isolation = Isolation::Tcg, .reason = said};
}

}  // namespace pepita::shim
