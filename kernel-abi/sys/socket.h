#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {

/// A listening unix stream socket at `path`, non-blocking.
/// Errors: AlreadyExists where the path is taken; InvalidArgument where it is longer than
/// sockaddr_un holds (107 bytes).
Result<Fd> listen_unix(std::string_view path);

/// The same for whom `mode` lets connect, and nobody else at any time.
Result<Fd> listen_unix(std::string_view path, mode_t mode);

/// A connected unix stream socket, non-blocking after connecting.
/// Errors: NotFound without the path, Unavailable where nobody listens or the backlog is full.
Result<Fd> connect_unix(std::string_view path);

/// The same for `name` in an open directory, whatever the length of its path. Others may write to
/// the directory: no link is followed, and no other directory entered.
/// Errors: also InvalidArgument where the name is something else's.
Result<Fd> listen_unix_at(FdRef directory, std::string_view name);
Result<Fd> connect_unix_at(FdRef directory, std::string_view name);

/// The next client of a non-blocking listener, non-blocking itself.
/// Errors: Unavailable (EAGAIN) where nobody waits.
Result<Fd> accept_client(FdRef listener);

/// Two connected unix stream sockets, non-blocking.
Result<std::pair<Fd, Fd>> socket_pair();

/// The same of SOCK_SEQPACKET: a message is sent and received as a whole, with its descriptors.
Result<std::pair<Fd, Fd>> message_socket_pair();

// Neither of the two waits, also where the socket is somebody else's too, who may make it wait.

/// Sends bytes and, beside the first of them, descriptors. Returns the count of bytes taken.
/// Never raises SIGPIPE. Errors: Unavailable (EAGAIN) where the socket is full, EPIPE.
Result<std::size_t> send_some(FdRef socket, std::span<const std::byte> bytes,
                              std::span<const FdRef> fds = {});

/// What one receive gave: `size` 0 is the end of the stream.
struct Received {
    std::size_t size = 0;
    std::vector<Fd> fds;
};

/// At most 16 descriptors come with one receive; more is DataLoss, and none is kept.
/// Errors: Unavailable (EAGAIN) where nothing waits.
Result<Received> receive_some(FdRef socket, std::span<std::byte> into);

}  // namespace pepita
