#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

// disk-verifier FILE WORKERS BLOCKS: writes blocks of 4 KiB at random, each worker its own ones,
// and reads some back: a block must hold what was acknowledged last, and nothing else. Says how
// many writes were acknowledged while it goes on. At a line on standard input it stops, and reads
// all.

namespace {

constexpr std::size_t kBlock = 4096;
constexpr int kReportMs = 100;

struct Shared {
    std::atomic<bool> stop;
    std::atomic<std::uint64_t> writes;
};

struct alignas(kBlock) Block {
    std::array<std::uint64_t, kBlock / sizeof(std::uint64_t)> words;
};

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finish
    x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31U);
}

// Generation 0 is a block that nobody wrote.
void fill(Block& block, std::uint64_t number, std::uint64_t generation) {
    std::uint64_t state = (number << 32U) + generation;
    for (std::uint64_t& word : block.words) {
        state += 0x9e3779b97f4a7c15U;
        word = generation == 0 ? 0 : mix(state);
    }
}

class Worker {
public:
    Worker(int file, std::uint64_t number, std::uint64_t workers, std::uint64_t blocks)
        : file_(file), number_(number), workers_(workers), generations_(blocks / workers) {}

    bool run(Shared& shared) {
        std::uint64_t random = mix(number_ + 1);
        while (!shared.stop) {
            random = mix(random + 0x9e3779b97f4a7c15U);
            const std::size_t index = (random >> 8U) % generations_.size();
            if (random % 4 == 0) {
                if (!check(index)) {
                    return false;
                }
                continue;
            }
            fill(*block_, block_number(index), generations_[index] + 1);
            if (::pwrite(file_, block_.get(), kBlock, offset(index)) !=
                static_cast<ssize_t>(kBlock)) {
                std::printf("WRITE of block %zu: %s\n", block_number(index), std::strerror(errno));
                return false;
            }
            ++generations_[index];
            ++shared.writes;
        }
        for (std::size_t index = 0; index < generations_.size(); ++index) {
            if (!check(index)) {
                return false;
            }
        }
        return true;
    }

private:
    std::size_t block_number(std::size_t index) const { return (index * workers_) + number_; }
    off_t offset(std::size_t index) const {
        return static_cast<off_t>(block_number(index) * kBlock);
    }
    bool check(std::size_t index) {
        if (::pread(file_, block_.get(), kBlock, offset(index)) != static_cast<ssize_t>(kBlock)) {
            std::printf("READ of block %zu: %s\n", block_number(index), std::strerror(errno));
            return false;
        }
        fill(*wanted_, block_number(index), generations_[index]);
        if (block_->words != wanted_->words) {
            std::printf("WRONG block %zu, generation %llu\n", block_number(index),
                        static_cast<unsigned long long>(generations_[index]));
            return false;
        }
        return true;
    }

    int file_;
    std::uint64_t number_;
    std::uint64_t workers_;
    std::vector<std::uint64_t> generations_;
    std::unique_ptr<Block> block_ = std::make_unique<Block>();
    std::unique_ptr<Block> wanted_ = std::make_unique<Block>();
};

}  // namespace

int main(int argc, char** argv) {
    const std::span arguments(argv, static_cast<std::size_t>(argc));
    if (argc != 4) {
        return 2;
    }
    (void)std::setvbuf(stdout, nullptr, _IOLBF, 0);
    const auto workers = std::strtoull(arguments[2], nullptr, 10);
    const auto blocks = std::strtoull(arguments[3], nullptr, 10);
    const int file = ::open(arguments[1], O_RDWR | O_DIRECT | O_CLOEXEC);
    void* memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (file < 0 || memory == MAP_FAILED || workers == 0 || blocks < workers) {
        std::perror("disk-verifier");
        return 2;
    }
    Shared* shared = std::construct_at(static_cast<Shared*>(memory));
    for (std::uint64_t i = 0; i < workers; ++i) {
        if (::fork() == 0) {
            const bool is_ok = Worker(file, i, workers, blocks).run(*shared);
            (void)std::fflush(stdout);
            ::_exit(is_ok ? 0 : 1);
        }
    }
    pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    while (::poll(&input, 1, kReportMs) == 0) {
        std::printf("writes %llu\n", static_cast<unsigned long long>(shared->writes));
    }
    shared->stop = true;
    bool all_ok = true;
    int status = 0;
    while (::wait(&status) > 0) {
        all_ok = all_ok && status == 0;
    }
    std::printf("%s %llu blocks after %llu writes\n", all_ok ? "verified" : "LOST", blocks,
                static_cast<unsigned long long>(shared->writes));
    return all_ok ? 0 : 1;
}
