#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/check.h"
#include "runtime/container.h"
#include "runtime/container/users.h"

/// A user, a group, an image's passwd and its group file, each up to a NUL.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace pepita::runtime;
    // SAFETY: char may alias anything.
    std::string_view text(reinterpret_cast<const char*>(data), size);
    UserLookup lookup;
    lookup.user = std::string(container::take_field(text, '\0'));
    lookup.group = std::string(container::take_field(text, '\0'));
    lookup.adds_groups = true;
    const std::string_view passwd = container::take_field(text, '\0');
    if (const auto found = container::find_user(lookup, passwd, text)) {
        CHECK(found->uid != UINT32_MAX && found->gid != UINT32_MAX);
        CHECK(std::ranges::is_sorted(found->groups));
        CHECK(std::ranges::find(found->groups, UINT32_MAX) == found->groups.end());
    }
    return 0;
}
