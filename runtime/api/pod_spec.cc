#include "runtime/pod_spec.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/pod.pb.h"
#include "runtime/bundle.h"
#include "runtime/oci/host_cgroup.h"
#include "runtime/rpc/message.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::pod::v1;

/// Calls `code` with each member of a spec and the accessors of its field. Both directions use
/// this one table, and a member that is missing here does not compile.
template <typename Spec, typename Code>
void code_members(Spec& spec, Code code) {
    auto& [name, root, data, vmm, qemu, isolation, memory_mib, vcpus, is_sized, memory_max_mib,
           vcpus_max, scratch_mib, boot_deadline, guest_console, log_format, end, packs_roots,
           network_namespace, cgroup] = spec;
    code(name, &pb::PodSpec::name, &pb::PodSpec::mutable_name);
    code(root, &pb::PodSpec::root, &pb::PodSpec::mutable_root);
    code(data, &pb::PodSpec::data, &pb::PodSpec::mutable_data);
    code(vmm, &pb::PodSpec::vmm, &pb::PodSpec::mutable_vmm);
    code(qemu, &pb::PodSpec::qemu, &pb::PodSpec::mutable_qemu);
    code(isolation, &pb::PodSpec::isolation, &pb::PodSpec::set_isolation);
    code(memory_mib, &pb::PodSpec::memory_mib, &pb::PodSpec::set_memory_mib);
    code(vcpus, &pb::PodSpec::vcpus, &pb::PodSpec::set_vcpus);
    code(is_sized, &pb::PodSpec::is_sized, &pb::PodSpec::set_is_sized);
    code(memory_max_mib, &pb::PodSpec::memory_max_mib, &pb::PodSpec::set_memory_max_mib);
    code(vcpus_max, &pb::PodSpec::vcpus_max, &pb::PodSpec::set_vcpus_max);
    code(scratch_mib, &pb::PodSpec::scratch_mib, &pb::PodSpec::set_scratch_mib);
    code(boot_deadline, &pb::PodSpec::boot_deadline_s, &pb::PodSpec::set_boot_deadline_s);
    code(guest_console, &pb::PodSpec::guest_console, &pb::PodSpec::mutable_guest_console);
    code(log_format, &pb::PodSpec::log_format, &pb::PodSpec::set_log_format);
    code(end, &pb::PodSpec::end, &pb::PodSpec::set_end);
    code(packs_roots, &pb::PodSpec::packs_roots, &pb::PodSpec::set_packs_roots);
    code(network_namespace, &pb::PodSpec::network_namespace,
         &pb::PodSpec::mutable_network_namespace);
    code(cgroup, &pb::PodSpec::cgroup, &pb::PodSpec::mutable_cgroup);
}

class Encoder {
public:
    explicit Encoder(pb::PodSpec& message) : message_(message) {}

    template <typename Get>
    void operator()(const std::string& value, Get /*get*/,
                    std::string* (pb::PodSpec::*field)()) const {
        *(message_.*field)() = value;
    }
    template <typename T, typename Get, typename Field>
    void operator()(const T& value, Get /*get*/, void (pb::PodSpec::*set)(Field)) const {
        (message_.*set)(static_cast<Field>(value));
    }
    template <typename Get>
    void operator()(const std::chrono::seconds& value, Get /*get*/,
                    void (pb::PodSpec::*set)(std::uint64_t)) const {
        (message_.*set)(static_cast<std::uint64_t>(value.count()));
    }

private:
    pb::PodSpec& message_;
};

bool is_valid(pb::Isolation value) { return pb::Isolation_IsValid(value); }
bool is_valid(pb::LogFormat value) { return pb::LogFormat_IsValid(value); }
bool is_valid(pb::PodEnd value) { return pb::PodEnd_IsValid(value); }
bool is_valid(std::uint64_t /*value*/) { return true; }
bool is_valid(bool /*value*/) { return true; }

class Decoder {
public:
    Decoder(const pb::PodSpec& message, bool& all_known)
        : message_(message), all_known_(all_known) {}

    template <typename Set>
    void operator()(std::string& value, const std::string& (pb::PodSpec::*get)() const,
                    Set /*set*/) const {
        value = (message_.*get)();
    }
    template <typename T, typename Field, typename Set>
    void operator()(T& value, Field (pb::PodSpec::*get)() const, Set /*set*/) const {
        all_known_ = all_known_ && is_valid((message_.*get)());
        value = static_cast<T>((message_.*get)());
    }

private:
    const pb::PodSpec& message_;
    bool& all_known_;
};

Result<void> check_range(std::string_view name, std::uint64_t value, std::uint64_t least,
                         std::uint64_t most) {
    if (value < least || value > most) {
        return Error(Code::InvalidArgument, std::string(name) + " " + std::to_string(value) +
                                                ": must be a whole number from " +
                                                std::to_string(least) + " to " +
                                                std::to_string(most));
    }
    return {};
}

Result<void> check_path(std::string_view name, const std::string& path) {
    if (!path.starts_with('/')) {
        return Error(Code::InvalidArgument,
                     std::string(name) + " '" + path + "': must be an absolute path");
    }
    return {};
}

}  // namespace

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
    if (name == "process") {
        return IsolationChoice::Process;
    }
    return std::nullopt;
}

Result<void> check(const PodSpec& spec) {
    TRY(check_container_id(spec.name), "pod");
    TRY(check_path("root", spec.root));
    TRY(check_path("data", spec.data));
    TRY(check_range("memory", spec.memory_mib, PodSpec::kMemoryMibMin, PodSpec::kMemoryMibMax));
    TRY(check_range("cpus", spec.vcpus, PodSpec::kVcpusMin, PodSpec::kVcpusMax));
    // Clients from before there were these two say nothing of them: their pods do not grow.
    if (spec.memory_max_mib != 0) {
        TRY(check_range("memory max", spec.memory_max_mib, PodSpec::kMemoryMibMin,
                        PodSpec::kMemoryMibMax));
    }
    if (spec.vcpus_max != 0) {
        TRY(check_range("cpus max", spec.vcpus_max, PodSpec::kVcpusMin, PodSpec::kVcpusMax));
    }
    if (spec.scratch_mib != 0) {
        TRY(check_range("scratch", spec.scratch_mib, PodSpec::kScratchMibMin,
                        PodSpec::kScratchMibMax));
    }
    TRY(check_range("boot deadline", static_cast<std::uint64_t>(spec.boot_deadline.count()),
                    PodSpec::kBootDeadlineMin.count(), PodSpec::kBootDeadlineMax.count()));
    for (const auto& [name, path] :
         {std::pair("pepita-vmm", &spec.vmm), std::pair("QEMU", &spec.qemu),
          std::pair("guest console", &spec.guest_console),
          std::pair("network namespace", &spec.network_namespace)}) {
        if (!path->empty()) {
            TRY(check_path(name, *path));
        }
    }
    if (!spec.cgroup.empty()) {
        (void)TRY(oci::cgroup_place(spec.cgroup), "cgroup '", spec.cgroup, "'");
    }
    return {};
}

std::string encode(const PodSpec& spec) {
    pb::PodSpec message;
    code_members(spec, Encoder(message));
    return message.SerializeAsString();
}

Result<PodSpec> decode_pod_spec(std::string_view bytes) {
    const auto message = TRY(api::parse<pb::PodSpec>(bytes), "pod");
    PodSpec spec;
    bool all_known = true;
    code_members(spec, Decoder(message, all_known));
    if (!all_known) {
        return Error(Code::InvalidArgument, "pod: a value that this version does not know");
    }
    return spec;
}

}  // namespace pepita::runtime
