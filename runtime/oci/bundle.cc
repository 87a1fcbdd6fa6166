#include "runtime/bundle.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>  // realpath
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "runtime/container.h"
#include "runtime/oci/hooks_json.h"
#include "runtime/oci/linux_json.h"
#include "runtime/oci/process_json.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime {
namespace {

using oci::Node;
using oci::Object;

constexpr std::size_t kIdMax = 128;
constexpr std::size_t kHostnameMax = 64;  // __NEW_UTS_LEN

/// SemVer 2.0.0: the part before "-" and "+" is three numbers; we read major version 1.
Result<std::string> read_version(const Object& config) {
    const Node node = TRY(config.require("ociVersion"));
    std::string version = TRY(node.text());
    const std::string core = version.substr(0, version.find_first_of("-+"));
    std::array<unsigned, 3> numbers{};
    const char* at = core.data();
    const char* const end = core.data() + core.size();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i > 0) {
            if (at == end || *at != '.') {
                return node.invalid("must be a version as 1.2.0");
            }
            ++at;
        }
        const auto [rest, error] = std::from_chars(at, end, numbers[i]);
        if (error != std::errc()) {
            return node.invalid("must be a version as 1.2.0");
        }
        at = rest;
    }
    if (at != end) {
        return node.invalid("must be a version as 1.2.0");
    }
    if (numbers[0] != 1) {
        return node.unsupported("version " + oci::in_quotes(version) + " is not supported");
    }
    return version;
}

Result<std::string> read_host_name(const Object& config, std::string_view name,
                                   const Bundle& bundle) {
    std::string value = TRY(config.text_or_empty(name));
    if (value.empty()) {
        return value;
    }
    const Node node = TRY(config.require(name));
    if (value.size() > kHostnameMax) {
        return node.invalid("must have at most " + std::to_string(kHostnameMax) + " bytes");
    }
    if (!bundle.container.namespaces.uts &&
        std::ranges::find(bundle.joined, "uts", &NamespacePath::type) == bundle.joined.end()) {
        return node.invalid("needs a uts namespace");
    }
    return value;
}

std::string absolute(std::string_view path, std::string_view directory) {
    std::string normal = (std::filesystem::path(directory) / path).lexically_normal().string();
    if (normal.size() > 1 && normal.ends_with('/')) {
        normal.pop_back();
    }
    return normal;
}

Result<void> read_root(const Object& config, Bundle& bundle) {
    const Object root = TRY(TRY(config.require("root")).object());
    const Node path = TRY(root.require("path"));
    const std::string text = TRY(path.text());
    if (text.empty()) {
        return path.invalid("must not be empty");
    }
    bundle.root_path = absolute(text, bundle.directory);
    bundle.container.root_read_only = TRY(root.boolean_or_false("readonly"));
    return {};
}

Result<Bundle> read_config(const oci::Json& document, std::string_view directory) {
    const Object config = TRY(Node(document, "").object());
    Bundle bundle;
    bundle.directory = std::string(directory);
    bundle.oci_version = TRY(read_version(config));
    TRY(config.refuse({"solaris", "windows", "vm", "zos", "freebsd"}));
    TRY(read_root(config, bundle));
    ContainerSpec& container = bundle.container;
    container.process = TRY(oci::read_process(TRY(config.require("process"))));
    if (const auto mounts = config.find("mounts")) {
        container.mounts = TRY(oci::read_mounts(*mounts));
        for (MountSpec& mount : container.mounts) {
            if (mount.type == "bind") {
                mount.source = absolute(mount.source, directory);
            }
        }
    }
    const oci::Object linux = TRY(config.object_or_empty("linux"));
    TRY(oci::read_linux(linux, bundle));
    bundle.cgroups_path = TRY(linux.text_or_empty("cgroupsPath"));
    container.hostname = TRY(read_host_name(config, "hostname", bundle));
    container.domainname = TRY(read_host_name(config, "domainname", bundle));
    if (const auto hooks = config.find("hooks")) {
        TRY(oci::read_hooks(TRY(hooks->object()), bundle));
    }
    if (const auto annotations = config.find("annotations")) {
        for (const auto& [name, value] : TRY(annotations->members())) {
            bundle.annotations.emplace(name, TRY(value.text()));
        }
    }
    return bundle;
}

Result<std::string> read_config_file(const std::string& path) {
    // Not blocking: a FIFO in place of the file must not hold us up.
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK));
    struct stat status{};
    if (::fstat(file.ref().number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    if (!S_ISREG(status.st_mode)) {
        return Error(Code::InvalidArgument, "'" + path + "' is not a regular file");
    }
    return read_all(file.ref(), oci::kJsonSizeMax, path);
}

/// The path without links, of a directory that is there. `what` names it in errors.
Result<std::string> real_directory(const std::string& path, std::string_view what) {
    std::array<char, PATH_MAX> real{};
    struct stat status{};
    if (::realpath(path.c_str(), real.data()) == nullptr || ::stat(real.data(), &status) != 0) {
        return Error::from_errno(errno, what);
    }
    if (!S_ISDIR(status.st_mode)) {
        return Error::from_errno(ENOTDIR, what);
    }
    return std::string(real.data());
}

Result<Bundle> load(const std::string& directory) {
    const std::string text = TRY(read_config_file(directory + "/config.json"));
    Bundle bundle = TRY(parse_config(text, directory));
    const std::string what = "config.json: root.path: " + oci::in_quotes(bundle.root_path);
    if (TRY(real_directory(bundle.root_path, what)) != bundle.root_path) {
        return Error(Code::InvalidArgument, what + ": is a symbolic link, or reached by one");
    }
    return bundle;
}

}  // namespace

std::optional<ImagePath> image_path(std::string_view source) {
    constexpr std::string_view prefix = "sha256:";
    constexpr std::size_t digits = 64;
    const std::string_view id = source.substr(0, prefix.size() + digits);
    const std::string_view rest = source.substr(id.size());
    const bool is_id =
        id.size() == prefix.size() + digits && id.starts_with(prefix) &&
        id.substr(prefix.size()).find_first_not_of("0123456789abcdef") == std::string_view::npos;
    if (!is_id || (!rest.empty() && !rest.starts_with('/'))) {
        return std::nullopt;
    }
    return ImagePath{.id = std::string(id), .path = std::string(rest.substr(!rest.empty()))};
}

Result<Bundle> parse_config(std::string_view json, std::string_view directory) {
    const oci::Json document = TRY(oci::parse_json(json), "config.json");
    return TRY(read_config(document, directory), "config.json");
}

Result<Bundle> load_bundle(std::string_view directory) {
    if (directory.contains('\0')) {
        return Error(Code::InvalidArgument, "a bundle's path must not contain NUL");
    }
    const std::string name = "bundle " + oci::in_quotes(directory);
    const std::string real = TRY(real_directory(std::string(directory), name));
    // It is in states and messages, which are UTF-8.
    if (!is_utf8(real)) {
        return Error(Code::InvalidArgument,
                     "bundle " + oci::in_quotes(real) + ": a bundle's path must be UTF-8");
    }
    return TRY(load(real), name);
}

Result<ProcessSpec> load_process(std::string_view path) {
    // The caller names it and may well give a pipe: "<(jq ...)", "/dev/stdin".
    const Fd file = TRY(open_file(std::string(path).c_str(), O_RDONLY));
    const std::string text = TRY(read_all(file.ref(), oci::kJsonSizeMax, path));
    return TRY(parse_process(text), oci::in_quotes(path));
}

Result<void> check_container_id(std::string_view id) {
    const bool is_ok = !id.empty() && id.size() <= kIdMax && id != "." && id != ".." &&
                       std::ranges::all_of(id, [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                  (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '+' ||
                                  c == '-';
                       });
    if (!is_ok) {
        return Error(Code::InvalidArgument,
                     "container id " + oci::in_quotes(id) + " must be 1 to 128 of [A-Za-z0-9._+-]");
    }
    return {};
}

}  // namespace pepita::runtime
