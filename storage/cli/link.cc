#include "storage/cli/link.h"

#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/rpc/channel.h"

namespace pepita::storage::cli {

Result<Link> Link::connect(const std::string& socket) {
    Result<Fd> connected = connect_unix(socket);
    if (!connected) {
        return std::move(connected).error().within("is pepita-storage running?");
    }
    std::unique_ptr<EventLoop> loop = TRY(EventLoop::create());
    auto channel = TRY(runtime::Channel::create(*loop, *std::move(connected), {}));
    return Link(std::move(loop), std::move(channel));
}

}  // namespace pepita::storage::cli
