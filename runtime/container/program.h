#pragma once

#include <string>
#include <vector>

#include "runtime/container.h"

namespace pepita::runtime::container {

/// Looks args[0] up in the PATH of `spec.env` (a name with a slash is taken as it is) and becomes
/// it. Returns the errno that kept it: EACCES where the only files of that name cannot be run,
/// ENOENT where there are none.
int become_program(const ProcessSpec& spec);

/// execve(2) of `path` with these arguments. Returns the errno that kept it.
int become_file(const std::string& path, const std::vector<std::string>& args,
                const std::vector<std::string>& env);

/// The errno that would keep become_program() from it, as far as it can be said before; 0: none.
/// Relative names are looked up in the working directory.
int find_program(const ProcessSpec& spec);

/// As the shell counts a program that could not be run: 127 where it was not found, else 126.
int exit_status_of(int exec_errno);

}  // namespace pepita::runtime::container
