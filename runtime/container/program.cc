#include "runtime/container/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

constexpr std::string_view kPathVariable = "PATH=";
constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string_view search_path(const std::vector<std::string>& env) {
    for (const std::string& variable : env) {
        if (variable.starts_with(kPathVariable)) {
            return std::string_view(variable).substr(kPathVariable.size());
        }
    }
    return kDefaultPath;
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
    std::vector<char*> result;
    result.reserve(strings.size() + 1);
    for (const std::string& text : strings) {
        // execve(2) takes char* for history's sake and changes nothing.
        result.push_back(
            const_cast<char*>(text.c_str()));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
    }
    result.push_back(nullptr);
    return result;
}

// Calls `attempt`, which gives an errno or 0, with each path that args[0] may stand for, until one
// succeeds. EACCES where the only files of that name cannot be run, ENOENT where there are none.
template <typename Attempt>
int try_paths(const ProcessSpec& spec, Attempt attempt) {
    const std::string& name = spec.args.front();
    if (name.find('/') != std::string::npos) {
        return attempt(name);
    }
    int reason = ENOENT;
    std::string_view rest = search_path(spec.env);
    while (!rest.empty() && !name.empty()) {
        const std::size_t end = std::min(rest.find(':'), rest.size());
        const std::string directory(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const int failure = attempt((directory.empty() ? "." : directory) + "/" + name);
        if (failure == 0) {
            return 0;
        }
        if (failure != ENOENT && failure != ENOTDIR) {
            reason = failure;
        }
    }
    return reason;
}

}  // namespace

int become_program(const ProcessSpec& spec) {
    const std::vector<char*> arguments = pointers(spec.args);
    const std::vector<char*> environment = pointers(spec.env);
    return try_paths(spec, [&](const std::string& path) {
        (void)::execve(path.c_str(), arguments.data(), environment.data());
        return errno;
    });
}

int become_file(const std::string& path, const std::vector<std::string>& args,
                const std::vector<std::string>& env) {
    (void)::execve(path.c_str(), pointers(args).data(), pointers(env).data());
    return errno;
}

int find_program(const ProcessSpec& spec) {
    return try_paths(spec, [](const std::string& path) {
        struct stat about{};
        if (::stat(path.c_str(), &about) != 0) {
            return errno;
        }
        if (S_ISDIR(about.st_mode)) {
            return EACCES;
        }
        return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
    });
}

int exit_status_of(int exec_errno) {
    return exec_errno == ENOENT || exec_errno == ENOTDIR ? 127 : 126;
}

}  // namespace pepita::runtime::container
