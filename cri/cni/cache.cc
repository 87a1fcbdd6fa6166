#include "cri/cni/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cri/base64.h"
#include "cri/cni/network_config.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;

struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
};

Result<CachedAttachment> parse(const std::string& text) {
    const Json json = TRY(runtime::oci::parse_json(text));
    const Object object = TRY(Node(json, "cache").object());
    CachedAttachment cached;
    cached.network_name = TRY(object.text_or_empty("networkName"));
    cached.container_id = TRY(object.text_or_empty("containerId"));
    cached.interface = TRY(object.text_or_empty("ifName"));
    cached.netns = TRY(object.text_or_empty("netns"));
    TRY(check_cni_name("networkName", cached.network_name));
    TRY(check_cni_name("containerId", cached.container_id));
    TRY(check_interface_name(cached.interface));
    auto config = from_base64(TRY(object.text_or_empty("config")));
    if (!config) {
        return object.node().invalid("config is no base64");
    }
    cached.config = *std::move(config);
    if (const auto args = object.find("cniArgs")) {
        for (const Node& pair : TRY(args->elements())) {
            std::vector<std::string> texts = TRY(pair.texts());
            if (texts.size() != 2) {
                return pair.invalid("is no pair");
            }
            cached.args.emplace_back(std::move(texts[0]), std::move(texts[1]));
        }
    }
    TRY(object.object_or_empty("capabilityArgs"));
    const auto capabilities = json.find("capabilityArgs");
    cached.capabilities =
        capabilities == json.end() || capabilities->is_null() ? Json::object() : *capabilities;
    TRY(TRY(object.require("result")).object());
    cached.result = *json.find("result");
    return cached;
}

}  // namespace

std::string CniCache::file_of(const CachedAttachment& attachment) {
    return attachment.network_name + "-" + attachment.container_id + "-" + attachment.interface;
}

Result<void> CniCache::save(const CachedAttachment& attachment) const {
    constexpr mode_t folder_mode = 0700;
    constexpr mode_t file_mode = 0600;
    Json args = Json::array();
    for (const auto& [name, value] : attachment.args) {
        args.push_back(Json::array({name, value}));
    }
    Json json = Json::object();
    json.emplace("kind", "cniCacheV1");
    json.emplace("containerId", attachment.container_id);
    json.emplace("config", to_base64(std::as_bytes(std::span(attachment.config))));
    json.emplace("ifName", attachment.interface);
    json.emplace("networkName", attachment.network_name);
    json.emplace("netns", attachment.netns);
    json.emplace("cniArgs", std::move(args));
    json.emplace("capabilityArgs", attachment.capabilities);
    json.emplace("result", attachment.result);
    TRY(make_directory(directory_, folder_mode));
    TRY(make_directory(folder(), folder_mode));
    const Fd directory = TRY(open_file(folder().c_str(), O_RDONLY | O_DIRECTORY));
    return replace_file(directory.ref(), file_of(attachment),
                        json.dump(-1, ' ', false, Json::error_handler_t::replace), file_mode);
}

Result<CachedAttachment> CniCache::load(const std::string& file) const {
    const std::string path = folder() + "/" + file;
    const Fd open = TRY(open_file(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
    TRY(file_size(open.ref()), "'", path, "'");
    const std::string text = TRY(read_all(open.ref(), kFileSizeMax, path));
    return TRY(parse(text), "'", path, "'");
}

Result<std::string> CniCache::find(const std::string& container_id,
                                   const std::string& interface) const {
    const std::string suffix = "-" + container_id + "-" + interface;
    for (std::string& file : TRY(files())) {
        // The network's name may hold a dash too: the file itself decides.
        if (!file.ends_with(suffix)) {
            continue;
        }
        const auto cached = load(file);
        if (!cached || (cached->container_id == container_id && cached->interface == interface)) {
            return std::move(file);
        }
    }
    return Error(Code::NotFound,
                 "no cached CNI result of '" + container_id + "', '" + interface + "'");
}

Result<std::vector<std::string>> CniCache::files() const {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, CloseDirectory> open(::opendir(folder().c_str()));
    if (!open) {
        if (errno == ENOENT) {
            return names;
        }
        return Error::from_errno(errno, "open '" + folder() + "'");
    }
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone
    while (const dirent* entry = ::readdir(open.get())) {
        std::string name = static_cast<const char*>(entry->d_name);
        if (!name.starts_with('.') && !name.ends_with(".new")) {  // replace_file()'s temporaries
            names.push_back(std::move(name));
        }
    }
    std::ranges::sort(names);
    return names;
}

Result<void> CniCache::remove(const std::string& file) const {
    const std::string path = folder() + "/" + file;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return Error::from_errno(errno, "remove '" + path + "'");
    }
    return {};
}

}  // namespace pepita::cri
