#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/abi/btf.h"
#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/sys/result.h"

namespace pepita::abi_check {

/// What comparing our definitions with a kernel's own types gave.
struct Report {
    std::size_t same = 0;                  // types, members and enumerators that agree
    std::vector<std::string> differences;  // a line each: "kvm_run.cr8: ours is 8 B at 24, ..."
    std::vector<std::string> absent;       // what the kernel does not have: other options, or older
};

/// Compares with `kernel` first and with its modules where that has no type of the name.
/// Errors: DataLoss where the types contradict themselves.
Result<Report> compare(std::span<const ExpectedType> types,
                       std::span<const ExpectedEnumerator> enumerators, const btf::Types& kernel,
                       std::span<const btf::Types> modules = {});

/// Compares all that kernel-abi/uapi defines with the kernel whose types are in `directory`
/// (/sys/kernel/btf): vmlinux, and one file for each module.
/// Errors: NotFound where the kernel does not publish its types; DataLoss. They name the file.
Result<Report> check_kernel(const std::string& directory);

}  // namespace pepita::abi_check
