#include <unistd.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/abi/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

// pepita-abi: whether the running kernel's structures are laid out as pepita was built for.

namespace {

constexpr std::string_view kUsage =
    "Usage: pepita-abi check [DIRECTORY]\n"
    "\n"
    "Compares the layouts that pepita shares with Linux with the running kernel's own, which it\n"
    "publishes in DIRECTORY (/sys/kernel/btf): vmlinux, and one file for each module.\n"
    "Exit status: 0 all agree, 1 some differ, 2 they cannot be compared.\n";
constexpr int kDiffer = 1;
constexpr int kFailed = 2;

void print(int number, const std::string& text) {
    (void)pepita::write_all(pepita::FdRef(number), text, "output").has_value();
}

int check(const std::string& directory) {
    const pepita::Result<pepita::abi_check::Report> report =
        pepita::abi_check::check_kernel(directory);
    if (!report) {
        print(STDERR_FILENO, "pepita-abi: " + report.error().message() + "\n");
        return kFailed;
    }
    std::string text;
    for (const std::string& line : report->differences) {
        text += "differs: " + line + "\n";
    }
    for (const std::string& name : report->absent) {
        text += "not in this kernel: " + name + "\n";
    }
    text += std::to_string(report->same) + " agree, " + std::to_string(report->differences.size()) +
            " differ, " + std::to_string(report->absent.size()) + " are not in this kernel\n";
    print(STDOUT_FILENO, text);
    return report->differences.empty() ? 0 : kDiffer;
}

}  // namespace

int main(int argc, char** argv) {
    const std::span<char*> words(argv, static_cast<std::size_t>(argc));
    if (words.size() == 2 && std::string_view(words[1]) == "--help") {
        print(STDOUT_FILENO, std::string(kUsage));
        return 0;
    }
    if (words.size() < 2 || words.size() > 3 || std::string_view(words[1]) != "check") {
        print(STDERR_FILENO, std::string(kUsage));
        return kFailed;
    }
    return check(words.size() == 3 ? words[2] : "/sys/kernel/btf");
}
