#include "runtime/oci/hooks_json.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/rpc/json.h"

namespace pepita::runtime::oci {
namespace {

Result<HookSpec> read_hook(const Node& node) {
    const Object object = TRY(node.object());
    const Node path = TRY(object.require("path"));
    HookSpec hook{.path = TRY(path.text())};
    if (!hook.path.starts_with('/')) {
        return path.invalid("must be an absolute path");
    }
    hook.args = TRY(object.texts_or_empty("args"));
    hook.env = TRY(object.texts_or_empty("env"));
    if (const auto timeout = object.find("timeout")) {
        hook.timeout_seconds = TRY(timeout->natural(HookSpec::kTimeoutSecondsMax));
        if (*hook.timeout_seconds == 0) {
            return timeout->invalid("must be at least 1 second");
        }
    }
    return hook;
}

Result<std::vector<HookSpec>> read_list(const Object& hooks, std::string_view name) {
    std::vector<HookSpec> out;
    if (const auto node = hooks.find(name)) {
        for (const Node& element : TRY(node->elements())) {
            out.push_back(TRY(read_hook(element)));
        }
    }
    return out;
}

}  // namespace

Result<void> read_hooks(const Object& hooks, Bundle& bundle) {
    bundle.hooks.prestart = TRY(read_list(hooks, "prestart"));
    bundle.hooks.create_runtime = TRY(read_list(hooks, "createRuntime"));
    bundle.hooks.poststart = TRY(read_list(hooks, "poststart"));
    bundle.hooks.poststop = TRY(read_list(hooks, "poststop"));
    InnerHooks& inner = bundle.container.hooks;
    inner.create_container = TRY(read_list(hooks, "createContainer"));
    inner.start_container = TRY(read_list(hooks, "startContainer"));
    return {};
}

}  // namespace pepita::runtime::oci
