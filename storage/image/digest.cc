#include "storage/digest.h"

#include <openssl/evp.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::storage {

std::string Digest::hex() const {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<unsigned>(byte) >> 4U];
        text += digits[std::to_integer<unsigned>(byte) & 0xfU];
    }
    return text;
}

Result<Digest> sha256(std::span<const std::byte> content) {
    Digest digest;
    unsigned size = 0;
    // SAFETY: EVP writes 32 bytes for SHA-256, which is what the array holds.
    if (EVP_Digest(content.data(), content.size(),
                   reinterpret_cast<unsigned char*>(digest.bytes.data()), &size, EVP_sha256(),
                   nullptr) != 1 ||
        size != digest.bytes.size()) {
        return Error(Code::Internal, "SHA-256 is not available");
    }
    return digest;
}

}  // namespace pepita::storage
