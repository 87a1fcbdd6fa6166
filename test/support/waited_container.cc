#include "test/support/waited_container.h"

#include <sys/wait.h>

#include <memory>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"

namespace pepita::test {

using runtime::container::Container;
using runtime::container::Process;
using runtime::container::Stdio;

Result<std::unique_ptr<WaitedContainer>> WaitedContainer::create(EventLoop& loop,
                                                                 const runtime::ContainerSpec& spec,
                                                                 const Container::Options& options,
                                                                 Stdio stdio) {
    std::unique_ptr<Container> container;
    Result<void> ready = wait_for<void>(loop, [&](auto done) {
        auto made = Container::create(loop, spec, options, std::move(stdio), done);
        if (made) {
            container = *std::move(made);
        } else {
            done(std::move(made).error());
        }
    });
    if (!container) {
        return std::move(ready).error();
    }
    std::unique_ptr<WaitedContainer> waited(new WaitedContainer(loop, std::move(container)));
    if (!ready) {
        (void)::waitpid(waited->process().pid(), nullptr, 0);
        TRY(waited->remove());
        return std::move(ready).error();
    }
    return waited;
}

Result<WaitedProcess> WaitedContainer::exec(const runtime::ProcessSpec& spec, Stdio stdio) {
    std::unique_ptr<Process> process;
    Result<void> ready = wait_for<void>(*loop_, [&](auto done) {
        auto made = container_->exec(spec, std::move(stdio), done);
        if (made) {
            process = *std::move(made);
        } else {
            done(std::move(made).error());
        }
    });
    if (!ready) {
        if (process) {
            (void)::waitpid(process->pid(), nullptr, 0);
        }
        return std::move(ready).error();
    }
    return WaitedProcess(*loop_, std::move(process));
}

}  // namespace pepita::test
