#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cri/container_spec.h"
#include "kernel-abi/sys/result.h"
#include "runtime/rpc/json.h"

namespace pepita::cri {
namespace {

using runtime::oci::Json;
using runtime::oci::Node;
using runtime::oci::Object;

Result<ImageConfig> read(const Json& document) {
    const Object image = TRY(Node(document, "").object());
    const Object config = TRY(image.object_or_empty("config"));
    ImageConfig out;
    out.env = TRY(config.texts_or_empty("Env"));
    out.entrypoint = TRY(config.texts_or_empty("Entrypoint"));
    out.cmd = TRY(config.texts_or_empty("Cmd"));
    out.user = TRY(config.text_or_empty("User"));
    out.working_dir = TRY(config.text_or_empty("WorkingDir"));
    out.stop_signal = TRY(config.text_or_empty("StopSignal"));
    if (const auto volumes = config.find("Volumes")) {
        for (auto& [path, ignored] : TRY(volumes->members())) {
            out.volumes.push_back(path);
        }
    }
    if (const auto labels = config.find("Labels")) {
        for (auto& [name, value] : TRY(labels->members())) {
            out.labels.emplace(name, TRY(value.text()));
        }
    }
    return out;
}

}  // namespace

Result<ImageConfig> parse_image_config(std::string_view json) {
    const Json document = TRY(runtime::oci::parse_json(json), "image config");
    return TRY(read(document), "image config");
}

}  // namespace pepita::cri
