#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/pump.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// A process's standard input that the shim keeps open for attachers (runtime/pod_api.h). What they
/// send goes to it in the order of its coming. Thread: that of `loop`.
class KeptInput {
public:
    static constexpr std::size_t kAttachersMax = 16;
    /// Whether the input ends with that of the first attacher whose input ends.
    enum class Ends : std::uint8_t { WithProcess, WithAttacher };

    KeptInput(EventLoop& loop, Ends ends) : loop_(loop), ends_(ends) {}
    KeptInput(const KeptInput&) = delete;
    KeptInput& operator=(const KeptInput&) = delete;
    KeptInput(KeptInput&&) = delete;
    KeptInput& operator=(KeptInput&&) = delete;
    ~KeptInput() = default;

    /// The guest's end, a socket.
    void connect(Fd connection) { connection_ = std::move(connection); }
    /// What comes from `source` is input from now on. It is closed where the input has ended.
    Result<void> attach(Fd source);
    /// The process reads what has come by now, then the end.
    void close();

private:
    struct Attacher {
        Fd source;
        Fd sink;  // a descriptor number serves one pump
        std::unique_ptr<Pump> pump;
    };
    void on_end(std::list<Attacher>::iterator place, Pump::End how);

    EventLoop& loop_;
    Ends ends_;
    Fd connection_;
    bool is_closed_ = false;
    std::list<Attacher> attachers_;
};

}  // namespace pepita::shim
