#pragma once

#include <utility>

#include "kernel-abi/sys/result.h"

namespace pepita {

/// A file descriptor that someone else owns. What functions take; never stored beyond the owner.
class FdRef {
public:
    explicit constexpr FdRef(int number) : number_(number) {}
    constexpr int number() const { return number_; }

private:
    int number_;
};

/// A file descriptor that closes when it goes. Move-only; there is no implicit way to an int.
class Fd {
public:
    Fd() = default;
    explicit Fd(int number) : number_(number) {}
    Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, kNone)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd();

    explicit operator bool() const { return number_ != kNone; }
    FdRef ref() const { return FdRef(number_); }

    /// Gives the number away, for a C interface that takes ownership. Rare; say why.
    int release() { return std::exchange(number_, kNone); }

private:
    static constexpr int kNone = -1;
    int number_ = kNone;
};

/// A second descriptor of the same open file. Errors: fcntl(2)'s.
Result<Fd> duplicate(FdRef fd);

/// Makes reads and writes return EAGAIN rather than wait. It is the open file that changes: every
/// process that shares it sees the difference, so never do this to a descriptor that was inherited.
Result<void> set_nonblocking(FdRef fd);
Result<void> set_blocking(FdRef fd);

/// open(2) with O_CLOEXEC always set. `flags` as in open(2), without O_CREAT.
/// Errors: whatever open(2) gives, with the path in the message.
Result<Fd> open_file(const char* path, int flags);

}  // namespace pepita
