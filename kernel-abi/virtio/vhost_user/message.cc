#include "kernel-abi/virtio/vhost_user/message.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/uapi/vhost_user.h"

namespace pepita::virtio {
namespace {

using enum abi::VhostUserRequest;

using Name = std::pair<abi::VhostUserRequest, std::string_view>;
constexpr std::array kNames{
    Name{GetFeatures, "GET_FEATURES"},
    Name{SetFeatures, "SET_FEATURES"},
    Name{SetOwner, "SET_OWNER"},
    Name{ResetOwner, "RESET_OWNER"},
    Name{SetMemTable, "SET_MEM_TABLE"},
    Name{SetLogBase, "SET_LOG_BASE"},
    Name{SetLogFd, "SET_LOG_FD"},
    Name{SetVringNum, "SET_VRING_NUM"},
    Name{SetVringAddr, "SET_VRING_ADDR"},
    Name{SetVringBase, "SET_VRING_BASE"},
    Name{GetVringBase, "GET_VRING_BASE"},
    Name{SetVringKick, "SET_VRING_KICK"},
    Name{SetVringCall, "SET_VRING_CALL"},
    Name{SetVringErr, "SET_VRING_ERR"},
    Name{GetProtocolFeatures, "GET_PROTOCOL_FEATURES"},
    Name{SetProtocolFeatures, "SET_PROTOCOL_FEATURES"},
    Name{GetQueueNum, "GET_QUEUE_NUM"},
    Name{SetVringEnable, "SET_VRING_ENABLE"},
    Name{SendRarp, "SEND_RARP"},
    Name{NetSetMtu, "NET_SET_MTU"},
    Name{SetBackendReqFd, "SET_BACKEND_REQ_FD"},
    Name{IotlbMsg, "IOTLB_MSG"},
    Name{SetVringEndian, "SET_VRING_ENDIAN"},
    Name{GetConfig, "GET_CONFIG"},
    Name{SetConfig, "SET_CONFIG"},
    Name{CreateCryptoSession, "CREATE_CRYPTO_SESSION"},
    Name{CloseCryptoSession, "CLOSE_CRYPTO_SESSION"},
    Name{PostcopyAdvise, "POSTCOPY_ADVISE"},
    Name{PostcopyListen, "POSTCOPY_LISTEN"},
    Name{PostcopyEnd, "POSTCOPY_END"},
    Name{GetInflightFd, "GET_INFLIGHT_FD"},
    Name{SetInflightFd, "SET_INFLIGHT_FD"},
    Name{GpuSetSocket, "GPU_SET_SOCKET"},
    Name{ResetDevice, "RESET_DEVICE"},
    Name{VringKick, "VRING_KICK"},
    Name{GetMaxMemSlots, "GET_MAX_MEM_SLOTS"},
    Name{AddMemReg, "ADD_MEM_REG"},
    Name{RemMemReg, "REM_MEM_REG"},
    Name{SetStatus, "SET_STATUS"},
    Name{GetStatus, "GET_STATUS"},
    Name{GetSharedObject, "GET_SHARED_OBJECT"},
    Name{SetDeviceStateFd, "SET_DEVICE_STATE_FD"},
    Name{CheckDeviceState, "CHECK_DEVICE_STATE"},
    Name{GetShmemConfig, "GET_SHMEM_CONFIG"},
    Name{GetVringBaseSkipDrain, "GET_VRING_BASE_SKIP_DRAIN"},
};

}  // namespace

Error VhostUserMessage::wrong_size(std::size_t expected) const {
    return {Code::InvalidArgument, "payload has " + std::to_string(payload.size()) + " B where " +
                                       std::to_string(expected) + " are due"};
}

std::string name_of(abi::VhostUserRequest request) {
    const auto* const found = std::ranges::find(kNames, request, &Name::first);
    return found != kNames.end() ? std::string(found->second)
                                 : "request " + std::to_string(std::to_underlying(request));
}

Result<bool> VhostUserReader::fill(FdRef socket, std::size_t size) {
    while (filled_ < size) {
        Result<Received> received =
            receive_some(socket, std::span(bytes_).subspan(filled_, size - filled_));
        if (!received) {
            if (received.error().sys_errno() == EAGAIN || received.error().sys_errno() == EINTR) {
                return false;
            }
            return std::move(received).error();
        }
        if (received->size == 0) {
            return Error(Code::Unavailable, filled_ == 0 ? "front end closed its connection"
                                                         : "front end left amid a message");
        }
        filled_ += received->size;
        std::ranges::move(received->fds, std::back_inserter(fds_));
        if (fds_.size() > abi::kVhostUserRegionsMax) {
            return Error(Code::InvalidArgument, "a message carries more than 8 descriptors");
        }
    }
    return true;
}

Result<std::optional<VhostUserMessage>> VhostUserReader::next(FdRef socket) {
    abi::VhostUserHeader header{};
    if (!TRY(fill(socket, sizeof(header)))) {
        return std::nullopt;
    }
    std::memcpy(&header, bytes_.data(), sizeof(header));
    if ((header.flags & abi::kVhostUserVersionMask) != abi::kVhostUserVersion ||
        (header.flags & abi::kVhostUserReply) != 0) {
        return Error(Code::InvalidArgument,
                     "message flags " + std::to_string(header.flags) + " are no request's");
    }
    const auto request = abi::VhostUserRequest{header.request};
    if (header.size > kPayloadMax) {
        return Error(Code::InvalidArgument, name_of(request) + ": payload of " +
                                                std::to_string(header.size) + " B, limit " +
                                                std::to_string(kPayloadMax));
    }
    if (!TRY(fill(socket, sizeof(header) + header.size))) {
        return std::nullopt;
    }
    filled_ = 0;
    const std::span<const std::byte> payload =
        std::span(bytes_).subspan(sizeof(header), header.size);
    VhostUserMessage message;
    message.request = request;
    message.flags = header.flags;
    message.payload.assign(payload.begin(), payload.end());
    message.fds = std::exchange(fds_, {});
    return message;
}

Result<void> send_reply(FdRef socket, abi::VhostUserRequest request,
                        std::span<const std::byte> payload, std::span<const FdRef> fds) {
    const abi::VhostUserHeader header{
        .request = std::to_underlying(request),
        .flags = abi::kVhostUserVersion | abi::kVhostUserReply,
        .size = static_cast<std::uint32_t>(payload.size()),
    };
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (!payload.empty()) {
        std::memcpy(bytes.data() + sizeof(header), payload.data(), payload.size());
    }
    if (TRY(send_some(socket, bytes, fds)) != bytes.size()) {
        return Error(Code::Unavailable, "front end does not take its replies");
    }
    return {};
}

Result<void> send_backend_request(FdRef channel, abi::VhostUserBackendRequest request) {
    const abi::VhostUserHeader header{
        .request = std::to_underlying(request), .flags = abi::kVhostUserVersion, .size = 0};
    if (TRY(send_some(channel, std::as_bytes(std::span(&header, 1)))) != sizeof(header)) {
        return Error(Code::Unavailable, "front end does not read its channel");
    }
    return {};
}

}  // namespace pepita::virtio
