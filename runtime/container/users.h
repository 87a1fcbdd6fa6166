#pragma once

#include <string>
#include <string_view>

#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {

/// Takes what comes before the first `separator` off `rest`, and the separator.
std::string_view take_field(std::string_view& rest, char separator);

/// /etc/passwd or /etc/group of the container; "" where there is none. Neither waits nor follows a
/// link out of it: a running container may have put anything there.
/// Errors: of the file; FailedPrecondition for what is no plain file; over 1 MiB.
Result<std::string> read_database(const std::string& path);

/// Whom a lookup means by the text of passwd(5) and of group(5). Any bytes will do: lines that are
/// no entries are passed over, and of several entries the first counts. A number that passwd does
/// not have is a user of group 0. Groups: those in which /etc/group has the user, ascending.
/// Errors: NotFound for a name that is not there; InvalidArgument for a number that is no id.
Result<UserIds> find_user(const UserLookup& lookup, std::string_view passwd,
                          std::string_view group);

/// Makes numbers of the user that `spec` names, if it names one: uid, gid and additional groups, of
/// which the user's own is one. For a process whose root is the container's.
Result<void> settle_user(ProcessSpec& spec);

}  // namespace pepita::runtime::container
