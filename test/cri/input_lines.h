#pragma once

#include <sys/epoll.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {

/// Gives each line of standard input, without its end; where the input ends, so does the loop.
class InputLines {
public:
    using OnLine = std::function<void(const std::string& line)>;

    InputLines(EventLoop& loop, OnLine on_line) : loop_(loop), on_line_(std::move(on_line)) {}
    Result<void> start() {
        watch_ = TRY(loop_.watch(FdRef(0), EPOLLIN, [this](std::uint32_t) { on_input(); }));
        return {};
    }

private:
    void on_input() {
        char buffer[4096];
        const ssize_t got = ::read(0, buffer, sizeof(buffer));
        if (got <= 0) {
            watch_.cancel();
            return loop_.stop();
        }
        text_.append(buffer, static_cast<std::size_t>(got));
        for (std::size_t end = 0; (end = text_.find('\n')) != std::string::npos;) {
            const std::string line = text_.substr(0, end);
            text_.erase(0, end + 1);
            on_line_(line);
        }
    }

    EventLoop& loop_;
    OnLine on_line_;
    EventLoop::Watch watch_;
    std::string text_;
};

}  // namespace pepita::cri
