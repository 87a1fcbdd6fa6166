#include "runtime/container/conversation.h"

#include <sys/epoll.h>

#include <cstdint>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container/control.h"

namespace pepita::runtime::container {

Result<void> Conversation::expect(OnDone<ControlMessage> done) {
    watch_ = TRY(loop_.watch(socket_.ref(), EPOLLIN,
                             [this](std::uint32_t) { finish(receive_control(socket_.ref())); }));
    deadline_ = loop_.after(kControlDeadline, [this] {
        finish(Error(Code::DeadlineExceeded, "the process sends nothing"));
    });
    done_ = std::move(done);
    return {};
}

void Conversation::close() {
    watch_.cancel();
    deadline_.cancel();
    done_ = nullptr;
    socket_ = Fd();
}

void Conversation::finish(Result<ControlMessage> message) {
    watch_.cancel();
    deadline_.cancel();
    // The call may destroy this object.
    OnDone<ControlMessage> done = std::exchange(done_, nullptr);
    done(std::move(message));
}

}  // namespace pepita::runtime::container
