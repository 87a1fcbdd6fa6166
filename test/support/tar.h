#pragma once

#include <array>
#include <cstdio>
#include <string>
#include <string_view>

namespace pepita::test {

/// A tar archive, piece by piece.
class Tar {
public:
    Tar& file(std::string_view name, std::string_view content) {
        header(name, '0', content.size());
        bytes_.append(content).append((512 - content.size() % 512) % 512, '\0');
        return *this;
    }
    Tar& directory(std::string_view name) { return header(name, '5', 0); }
    std::string bytes() const { return bytes_ + std::string(1024, '\0'); }

private:
    Tar& header(std::string_view name, char type, std::size_t size) {
        std::string block(512, '\0');
        block.replace(0, name.size(), name);
        const auto put = [&](std::size_t at, unsigned long value, int digits) {
            std::array<char, 16> text{};
            (void)std::snprintf(text.data(), text.size(), "%0*lo", digits, value);
            block.replace(at, static_cast<std::size_t>(digits), text.data());
        };
        put(100, 0644, 7);
        put(108, 0, 7);
        put(116, 0, 7);
        put(124, size, 11);
        put(136, 0, 11);
        block[156] = type;
        block.replace(257, 8, std::string_view("ustar\00000", 8));
        block.replace(148, 8, 8, ' ');
        unsigned long sum = 0;
        for (const char c : block) {
            sum += static_cast<unsigned char>(c);
        }
        put(148, sum, 6);
        block[154] = '\0';
        bytes_ += block;
        return *this;
    }

    std::string bytes_;
};

}  // namespace pepita::test
