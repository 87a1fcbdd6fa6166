#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {

/// Where one attacher gets a copy of a stream. It never makes its owner wait: what the descriptor
/// does not take at once waits here, and an attacher for whom more than kWaitingMax bytes wait is
/// given up, because a copy with a hole in it would be worse. Thread: that of `loop`.
class AttacherSink {
public:
    static constexpr std::size_t kWaitingMax = std::size_t{4} << 20;

    /// `on_over` is called once and later, when the attacher went, was too slow, or has all after
    /// finish(). The sink may go in that call, and closes its descriptor.
    static Result<std::unique_ptr<AttacherSink>> create(EventLoop& loop, Fd sink,
                                                        std::move_only_function<void()> on_over);
    AttacherSink(const AttacherSink&) = delete;
    AttacherSink& operator=(const AttacherSink&) = delete;
    AttacherSink(AttacherSink&&) = delete;
    AttacherSink& operator=(AttacherSink&&) = delete;
    ~AttacherSink() = default;

    void put(std::string_view bytes);
    /// Nothing more comes.
    void finish();

private:
    AttacherSink(EventLoop& loop, Fd sink, std::move_only_function<void()> on_over);
    void on_event(std::uint32_t events);
    std::size_t write_some(std::string_view bytes);
    void end();

    EventLoop& loop_;
    Fd sink_;
    bool is_socket_;
    EventLoop::Watch watch_;  // none of a regular file, which always takes all
    std::string waiting_;
    bool is_last_ = false;
    bool is_over_ = false;
    EventLoop::Timer telling_;
    std::move_only_function<void()> on_over_;
};

}  // namespace pepita::shim
