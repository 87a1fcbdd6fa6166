#include "storage/digest.h"

#include <openssl/evp.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"

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

Result<Digest> parse_digest(std::string_view text) {
    const std::size_t colon = text.find(':');
    if (colon != std::string_view::npos && text.substr(0, colon) != "sha256") {
        return Error(Code::Unsupported,
                     "digest '" + printable(text.substr(0, 128)) + "' is not a SHA-256");
    }
    const std::string_view digits = text.substr(colon == std::string_view::npos ? 0 : colon + 1);
    Digest digest;
    const auto invalid = [&] {
        return Error(Code::InvalidArgument,
                     "'" + printable(text.substr(0, 128)) + "' is no digest");
    };
    if (digits.size() != digest.bytes.size() * 2) {
        return invalid();
    }
    for (std::size_t i = 0; i < digits.size(); ++i) {
        constexpr std::string_view alphabet = "0123456789abcdef";  // OCI allows no capitals
        const std::size_t value = alphabet.find(digits[i]);
        if (value == std::string_view::npos) {
            return invalid();
        }
        digest.bytes[i / 2] = digest.bytes[i / 2] << 4U | static_cast<std::byte>(value);
    }
    return digest;
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
