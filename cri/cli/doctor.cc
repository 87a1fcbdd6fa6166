#include "cri/cli/doctor.h"

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/cli/node.h"
#include "cri/cni.h"
#include "cri/cni/network_config.h"
#include "cri/options.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/host_programs.h"
#include "runtime/pod_spec.h"

namespace pepita::cri::cli {
namespace {

using Grade = Finding::Grade;
using runtime::IsolationChoice;

/// Collects what is found.
class Examination {
public:
    Examination(const Host& host, const Options& options) : host_(host), options_(options) {}

    Diagnosis result();

private:
    std::string at(const std::string& path) const { return host_.root + path; }
    bool is_there(const std::string& path, int how = F_OK) const {
        return ::access(at(path).c_str(), how) == 0;
    }
    bool add(bool is_fine, Finding missing, std::string fine);
    void need(bool is_fine, std::string what, std::string fine, std::string missing) {
        can_run_ &=
            add(is_fine,
                {.grade = Grade::Missing, .what = std::move(what), .message = std::move(missing)},
                std::move(fine));
    }
    void note(bool is_fine, std::string what, std::string fine, std::string without) {
        add(is_fine,
            {.grade = Grade::Without, .what = std::move(what), .message = std::move(without)},
            std::move(fine));
    }

    bool look_at_kvm();
    bool look_at_qemu(Grade grade);
    void look_at_isolation();
    void look_at_guest();
    void look_at_network();
    void look_at_programs();
    void look_at_modules();
    void look_at_cgroups();

    const Host& host_;
    const Options& options_;
    Diagnosis diagnosis_;
    bool can_run_ = true;
};

bool Examination::add(bool is_fine, Finding missing, std::string fine) {
    if (is_fine) {
        missing.grade = Grade::Fine;
        missing.message = std::move(fine);
    }
    diagnosis_.findings.push_back(std::move(missing));
    return is_fine;
}

bool Examination::look_at_kvm() {
    const bool is_wanted = options_.runtime.isolation == IsolationChoice::Kvm;
    const bool opens = Fd(::open(at("/dev/kvm").c_str(), O_RDWR | O_CLOEXEC)).ref().number() >= 0;
    const std::string why =
        !is_there("/dev/kvm")
            ? "there is none: turn virtualisation on in the firmware, or nesting where this is a "
              "virtual machine, and load kvm_intel or kvm_amd"
            : "it cannot be opened: run as root, or add the user to its group";
    return add(opens,
               {.grade = is_wanted ? Grade::Missing : Grade::Without,
                .what = "/dev/kvm",
                .message = why + (is_wanted ? "" : "; pods are slow without it")},
               "it can be opened");
}

bool Examination::look_at_qemu(Grade grade) {
    const std::string& qemu = options_.runtime.qemu;
    return add(is_there(qemu, X_OK),
               {.grade = grade,
                .what = "QEMU",
                .message = "no program '" + qemu +
                           "': apt install qemu-system-x86; isolation tcg needs it"},
               "'" + qemu + "'");
}

void Examination::look_at_isolation() {
    const IsolationChoice wanted = options_.runtime.isolation;
    const bool has_kvm = look_at_kvm();
    const bool needs_qemu =
        wanted == IsolationChoice::Tcg || (wanted == IsolationChoice::Auto && !has_kvm);
    const bool has_qemu = look_at_qemu(needs_qemu ? Grade::Missing : Grade::Without);
    if (needs_qemu ? has_qemu : has_kvm) {
        diagnosis_.isolation = needs_qemu ? "tcg" : "kvm";
    } else {
        can_run_ = false;
    }
}

void Examination::look_at_guest() {
    const std::string guest = options_.runtime.data + "/guest";
    for (const char* name : {"/vmlinuz", "/initramfs.cpio"}) {
        const std::string path = guest + name;
        need(is_there(path, R_OK), "guest image", "'" + path + "'",
             "no '" + path + "': deploy/guest/build makes it, and the Debian package has it");
    }
}

void Examination::look_at_network() {
    need(is_there("/dev/net/tun"), "/dev/net/tun", "it is there", "there is none: modprobe tun");
    const Result<CniChoice> network = choose_cni_network(at(options_.cni_configuration));
    need(network.has_value(), "pod network",
         network ? "'" + network->network.name + "' of '" + network->file + "'" : "",
         network ? ""
                 : network.error().message() +
                       "; the cluster's network (Calico, Flannel, ...) installs one");
    if (!network) {
        return;
    }
    std::vector<std::string> places = Cni::Options().plugin_directories;
    if (!options_.cni_plugins.empty()) {
        places = {options_.cni_plugins};
    }
    for (const CniPlugin& plugin : network->network.plugins) {
        const bool is_found = std::ranges::any_of(places, [&](const std::string& place) {
            return is_there(place + "/" + plugin.type, X_OK);
        });
        need(is_found, "CNI plugin '" + plugin.type + "'", "it is there",
             "no such program in " + places.front() +
                 (places.size() > 1 ? " or " + places.back() : "") +
                 ": apt install containernetworking-plugins has the usual ones");
    }
}

void Examination::look_at_programs() {
    if (options_.runtime.scratch_mib != 0) {
        need(is_there(runtime::kMkfsExt4, X_OK), "mkfs.ext4",
             "'" + std::string(runtime::kMkfsExt4) + "'",
             "apt install e2fsprogs: pods' scratch disks are made by it");
    }
    note(is_there(runtime::kMkfsErofs, X_OK), "mkfs.erofs",
         "'" + std::string(runtime::kMkfsErofs) + "'",
         "apt install erofs-utils: 'pepita-run --root-disk' needs it");
    const auto* server = std::ranges::find_if(
        runtime::kVirtiofsd, [this](const char* path) { return is_there(path, X_OK); });
    const bool has_server = server != runtime::kVirtiofsd.end();
    note(has_server, "virtiofsd", has_server ? "'" + std::string(*server) + "'" : "",
         "apt install qemu-system-common or virtiofsd: pods with volumes of the host and bundles "
         "need it");
}

void Examination::look_at_modules() {
    const std::string directory = at("/lib/modules/" + host_.kernel_release);
    const std::string known = read_file(directory + "/modules.builtin").value_or("") +
                              read_file(directory + "/modules.dep").value_or("");
    for (const std::string_view name : {"sch_ingress", "cls_u32", "act_mirred"}) {
        const bool is_found = is_there("/sys/module/" + std::string(name)) ||
                              known.contains("/" + std::string(name) + ".ko");
        note(is_found, "kernel module " + std::string(name), "it is there",
             known.empty()
                 ? "nothing is known of this kernel's modules; a pod that needs it says so"
                 : "this kernel has none: packets of pods are handed over by it");
    }
    note(is_there("/dev/ublk-control"), "/dev/ublk-control", "it is there",
         "modprobe ublk_drv (Linux 6.0): volumes of pepita-storage as block devices of the host");
}

void Examination::look_at_cgroups() {
    const bool is_v2 = is_there("/sys/fs/cgroup/cgroup.controllers");
    note(is_v2, "cgroup v2", "mounted at /sys/fs/cgroup",
         "boot with systemd.unified_cgroup_hierarchy=1: kubelets from 1.35 on want it");
}

Diagnosis Examination::result() {
    need(host_.is_root, "rights", "this user is root", "this user is not root: pepita-cri must be");
    look_at_isolation();
    look_at_guest();
    look_at_network();
    look_at_programs();
    look_at_modules();
    look_at_cgroups();
    if (!can_run_) {
        diagnosis_.isolation.clear();
    }
    return std::move(diagnosis_);
}

std::string_view word(Grade grade) {
    return grade == Grade::Fine ? "ok" : grade == Grade::Missing ? "missing" : "without";
}

}  // namespace

Diagnosis diagnose(const Host& host, const Options& options) {
    return Examination(host, options).result();
}

Result<int> doctor(const NodeCommand& command) {
    std::vector<std::string> arguments;
    if (!command.config.empty()) {
        arguments = {"--config", command.config};
    }
    const Options options = TRY(parse_options(arguments));
    utsname system{};
    (void)::uname(&system);
    const Diagnosis found = diagnose(
        {.root = "", .kernel_release = std::begin(system.release), .is_root = ::geteuid() == 0},
        options);
    std::vector<Row> rows;
    rows.reserve(found.findings.size());
    for (const Finding& finding : found.findings) {
        rows.push_back({std::string(word(finding.grade)), finding.what, finding.message});
    }
    TRY(print(table(rows)));
    // Only a microVM shows whether KVM runs guests at full speed: pepita-shim probes it.
    const bool may_be_slow =
        found.isolation == "kvm" && options.runtime.isolation == IsolationChoice::Auto;
    TRY(print(found.isolation.empty()
                  ? "pods cannot run\n"
                  : "pods can run (isolation " + found.isolation +
                        (may_be_slow ? ", or tcg where KVM proves slow)\n" : ")\n")));
    return found.isolation.empty() ? 1 : 0;
}

}  // namespace pepita::cri::cli
