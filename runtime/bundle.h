#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime {

/// The hooks of a container that run on the host, in the namespaces of its runtime.
struct HostHooks {
    std::vector<HookSpec> prestart;        // before create_runtime; deprecated, and used by dockerd
    std::vector<HookSpec> create_runtime;  // of create, once the namespaces are there
    std::vector<HookSpec> poststart;
    std::vector<HookSpec> poststop;

    friend bool operator==(const HostHooks&, const HostHooks&) = default;
};

/// A namespace that is joined by its path, "/proc/PID/ns/TYPE" as a rule. Of a pod of its own a
/// caller may name one without a path: kOfPod, or kOfContainer and the container's id.
struct NamespacePath {
    static constexpr std::string_view kOfPod = "pod:";
    static constexpr std::string_view kOfContainer = "container:";

    std::string type;  // pid, ipc or uts
    std::string path;

    friend bool operator==(const NamespacePath&, const NamespacePath&) = default;
};

/// What the source of a mount of type "image" says, which is ours and not of the specification:
/// "sha256:DIGITS" or "sha256:DIGITS/PATH".
struct ImagePath {
    std::string id;
    std::string path;  // in the image; "": its top

    friend bool operator==(const ImagePath&, const ImagePath&) = default;
};
std::optional<ImagePath> image_path(std::string_view source);

/// An OCI bundle, read and checked.
struct Bundle {
    std::string directory;  // absolute
    std::string root_path;  // absolute path of the root file system, an existing directory
    std::string oci_version;
    std::map<std::string, std::string> annotations;
    std::string cgroups_path;  // linux.cgroupsPath as written: a place on the host
    std::string cpuset_cpus;   // resources.cpu: of the host, for the pod's threads
    std::string cpuset_mems;
    std::string network_namespace;  // a path: the pod's; "": none is given
    /// Namespaces of containers of the same pod, for the shim to find: then it fills in pid_of,
    /// ipc_of and uts_of of container.namespaces.
    std::vector<NamespacePath> joined;
    HostHooks hooks;
    ContainerSpec container;  // id and serials of disks are the shim's to fill

    friend bool operator==(const Bundle&, const Bundle&) = default;
};

/// Reads DIRECTORY/config.json.
/// Errors: name the file, the member (JSON path: `linux.namespaces[1].path`) and the reason.
/// NotFound without bundle, config or root; InvalidArgument for malformed or wrong input, for a
/// file over 4 MiB, for nesting over 64; Unsupported for what a valid configuration asks and pepita
/// does not do. Never ignores a member that would change what the container may do. Checked and
/// then left: private or slave mount propagation (nothing propagates into or out of a guest). Every
/// member that the specification calls optional may be absent or null; without `linux`, namespaces
/// are the guest's but for the mount namespace.
Result<Bundle> load_bundle(std::string_view directory);

/// The same for a configuration at hand; `directory` is where a relative root.path starts.
Result<Bundle> parse_config(std::string_view json, std::string_view directory);

/// Of process.user, and ours, not of the specification: {"user": "app", "group": "", "addsGroups":
/// true} is a UserLookup, in place of uid and gid.
inline constexpr const char* kUserLookupMember = "io.pepita.lookup";

/// Gives the container its id, and the hooks that run in the guest their state with it.
void set_container_id(Bundle& bundle, std::string id);

/// An OCI `process` object (exec --process, and the task API's exec). `cwd` and `args` are
/// required; without `user` it is 0:0. Of a variable given twice, the last value counts.
Result<ProcessSpec> parse_process(std::string_view json);
/// The same from a file, a pipe or a terminal; waits for the end.
Result<ProcessSpec> load_process(std::string_view path);

/// An OCI `linux.resources` object, as for an update of a container. Errors: as load_bundle().
Result<ResourcesSpec> parse_resources(std::string_view json);

/// Sets KEY=VALUE in an environment, in the place of what KEY was.
void set_variable(std::vector<std::string>& env, std::string entry);

/// The `process` object of a process: what parse_process() takes.
std::string to_json(const ProcessSpec& process);

/// The configuration that `pepita-run spec` writes: a shell in a read-only root.
std::string default_config();

/// What `pepita-run features` prints. Source: runtime-spec, features.md and features-linux.md.
std::string features_json(std::string_view version);

/// All that config.json can name, by their numbers: "CAP_CHOWN" first.
std::span<const std::string_view> capability_names();

/// Whether a name may be a container's: 1 to 128 of [A-Za-z0-9._+-], none of "." and "..".
Result<void> check_container_id(std::string_view id);

}  // namespace pepita::runtime
