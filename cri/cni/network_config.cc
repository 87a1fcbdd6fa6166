#include "cri/cni/network_config.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::in_quotes;
using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;

// Ascending. 0.3 differs from 0.4 in no field that we use, but it has no CHECK.
constexpr auto kVersions =
    std::to_array<std::string_view>({"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"});
constexpr std::size_t kNameSizeMax = 128;

std::array<unsigned, 3> numbers_of(std::string_view version) {
    std::array<unsigned, 3> numbers{};
    for (unsigned& number : numbers) {
        const auto parsed =
            std::from_chars(version.data(), version.data() + version.size(), number);
        version.remove_prefix(static_cast<std::size_t>(parsed.ptr - version.data()));
        version.remove_prefix(version.empty() ? 0 : 1);  // the dot
    }
    return numbers;
}

// spec 1.1 §Configuration format: cniVersions lists more, and the highest common one is used.
Result<std::string> choose_version(const Object& list) {
    std::vector<std::string> offered = TRY(list.texts_or_empty("cniVersions"));
    if (std::string one = TRY(list.text_or_empty("cniVersion")); !one.empty()) {
        offered.push_back(std::move(one));
    }
    for (std::size_t at = kVersions.size(); at > 0; --at) {
        if (std::ranges::find(offered, kVersions.at(at - 1)) != offered.end()) {
            return std::string(kVersions.at(at - 1));
        }
    }
    if (offered.empty()) {
        return Error(Code::InvalidArgument, "cniVersion: is missing");
    }
    return Error(Code::Unsupported, "cniVersion: " + in_quotes(offered.back()) +
                                        " is not among 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
}

// libcni also takes "true" for true here.
Result<bool> lenient_boolean(const Object& list, std::string_view name) {
    const auto node = list.find(name);
    if (!node) {
        return false;
    }
    if (const auto text = node->text()) {
        if (*text != "true" && *text != "false") {
            return node->invalid("is neither true nor false");
        }
        return *text == "true";
    }
    return node->boolean();
}

Result<CniPlugin> parse_plugin(const Node& node, const Json& json) {
    const Object object = TRY(node.object());
    CniPlugin plugin;
    plugin.type = TRY(TRY(object.require("type")).text());
    if (plugin.type.empty() || plugin.type.size() > kNameSizeMax ||
        plugin.type.find('/') != std::string::npos || plugin.type.starts_with('.')) {
        return Error(Code::InvalidArgument,
                     node.path() + ".type: " + in_quotes(plugin.type) + " is no name of a program");
    }
    if (const auto capabilities = object.find("capabilities")) {
        for (const auto& [name, value] : TRY(capabilities->members())) {
            if (TRY(value.boolean())) {
                plugin.capabilities.push_back(name);
            }
        }
    }
    plugin.config = json;
    return plugin;
}

struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<std::vector<std::string>> files_of(const std::string& directory,
                                          std::vector<std::string_view> suffixes) {
    const std::unique_ptr<DIR, CloseDirectory> open(::opendir(directory.c_str()));
    if (!open) {
        return Error::from_errno(errno, "open '" + directory + "'");
    }
    std::vector<std::string> names;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone
    while (const dirent* entry = ::readdir(open.get())) {
        const std::string_view name = static_cast<const char*>(entry->d_name);
        if (std::ranges::any_of(suffixes, [name](std::string_view suffix) {
                return name.size() > suffix.size() && name.ends_with(suffix);
            })) {
            names.emplace_back(name);
        }
    }
    std::ranges::sort(names);
    return names;
}

// A device or a pipe in the directory must not make the loop wait.
Result<std::string> read_config(const std::string& path) {
    const Fd file = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY));
    TRY(file_size(file.ref()));
    return read_all(file.ref(), CniNetwork::kFileSizeMax, path);
}

// cniVersion and plugins are objects' members: checked by parse_cni_network() before.
Result<std::string> with_plugins_of(const std::string& directory, std::string text) {
    const CniNetwork network = TRY(parse_cni_network(text));
    Json list = TRY(runtime::oci::parse_json(text));
    const Object object = TRY(Node(list, "network").object());
    if (TRY(lenient_boolean(object, "loadOnlyInlinedPlugins")) || !object.find("plugins")) {
        return text;
    }
    const std::string folder = directory + "/" + network.name;
    const auto names = files_of(folder, {".conf"});
    if (!names || names->empty()) {
        return text;
    }
    for (const std::string& name : *names) {
        const std::string plugin = TRY(read_config((folder + "/").append(name)));
        list["plugins"].push_back(TRY(runtime::oci::parse_json(plugin), name));
    }
    return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<CniNetwork> load(const std::string& directory, const std::string& name) {
    const std::string text = TRY(read_config(directory + "/" + name));
    return parse_cni_network(TRY(with_plugins_of(directory, text)));
}

}  // namespace

bool is_at_least(std::string_view one, std::string_view other) {
    return numbers_of(one) >= numbers_of(other);
}

// spec 1.1 §Section 2, CNI_CONTAINERID; libcni holds network names to the same.
Result<void> check_cni_name(std::string_view what, std::string_view name) {
    const auto is_plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    const bool is_valid = !name.empty() && name.size() <= kNameSizeMax && is_plain(name.front()) &&
                          std::ranges::all_of(name, [is_plain](char c) {
                              return is_plain(c) || c == '_' || c == '.' || c == '-';
                          });
    if (!is_valid) {
        return Error(Code::InvalidArgument,
                     std::string(what) + ": " + in_quotes(name) +
                         " is not letters, digits, '_', '.' and '-', or longer than 128");
    }
    return {};
}

Result<void> check_interface_name(std::string_view name) {
    constexpr std::size_t size_max = 15;  // IFNAMSIZ and its NUL
    const bool is_valid = !name.empty() && name.size() <= size_max && name != "." && name != ".." &&
                          std::ranges::all_of(name, [](char c) {
                              return c > ' ' && c < '\x7f' && c != '/' && c != ':';
                          });
    if (!is_valid) {
        return Error(Code::InvalidArgument, in_quotes(name) + " is no name of a network interface");
    }
    return {};
}

Result<CniNetwork> parse_cni_network(std::string_view text) {
    if (text.size() > CniNetwork::kFileSizeMax) {
        return Error(Code::InvalidArgument, "configuration is larger than 1 MiB");
    }
    const Json json = TRY(runtime::oci::parse_json(text));
    const Object list = TRY(Node(json, "network").object());
    CniNetwork network;
    network.name = TRY(TRY(list.require("name")).text());
    TRY(check_cni_name("name", network.name));
    network.version = TRY(choose_version(list));
    network.disable_check = TRY(lenient_boolean(list, "disableCheck"));
    network.disable_gc = TRY(lenient_boolean(list, "disableGC"));
    network.text = text;
    const auto plugins = list.find("plugins");
    if (!plugins) {
        network.plugins.push_back(TRY(parse_plugin(list.node(), json)));
        return network;
    }
    const std::vector<Node> nodes = TRY(plugins->elements());
    if (nodes.empty() || nodes.size() > CniNetwork::kPluginsMax) {
        return plugins->invalid("has no plugin, or more than 64");
    }
    const Json& array = *json.find("plugins");
    for (std::size_t index = 0; index < nodes.size(); ++index) {
        network.plugins.push_back(TRY(parse_plugin(nodes[index], array[index])));
    }
    return network;
}

Result<CniChoice> choose_cni_network(const std::string& directory) {
    const auto names = files_of(directory, {".conflist", ".conf", ".json"});
    if (!names) {
        return Error(Code::FailedPrecondition, "no CNI network: " + names.error().message());
    }
    CniChoice choice;
    for (const std::string& name : *names) {
        auto network = load(directory, name);
        if (network) {
            choice.file = name;
            choice.network = *std::move(network);
            return choice;
        }
        choice.passed_over.push_back(name + ": " + network.error().message());
    }
    std::string why = "no CNI network in '" + directory + "'";
    for (const std::string& fault : choice.passed_over) {
        why += "; " + fault;
    }
    return Error(Code::FailedPrecondition, std::move(why));
}

}  // namespace pepita::cri
