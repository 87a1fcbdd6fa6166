#pragma once

#include <cstddef>  // IWYU pragma: keep

// How a test says that a layout of ours is Linux's. Members may be paths ("io.port").

// NOLINTBEGIN(cppcoreguidelines-macro-usage, bugprone-macro-parentheses): offsetof is a macro, and
// takes types.

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs))

/// Where a member is, and how many bytes it has.
#define SAME_PLACE(ours, our_member, theirs, their_member)                        \
    static_assert(offsetof(ours, our_member) == offsetof(theirs, their_member) && \
                  sizeof(static_cast<ours*>(nullptr)->our_member) ==              \
                      sizeof(static_cast<theirs*>(nullptr)->their_member))

/// Where a member is, of which Linux's has another length: ours is one for all of a union.
#define SAME_START(ours, our_member, theirs, their_member) \
    static_assert(offsetof(ours, our_member) == offsetof(theirs, their_member))

/// The place and size, for what Debian 12's header does not have yet.
#define AT(ours, member, offset, size)                  \
    static_assert(offsetof(ours, member) == (offset) && \
                  sizeof(static_cast<ours*>(nullptr)->member) == (size))

// NOLINTEND(cppcoreguidelines-macro-usage, bugprone-macro-parentheses)
