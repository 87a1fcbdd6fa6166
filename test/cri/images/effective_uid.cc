// Says who it is. Set-uid, it shows whether new privileges are allowed (critest's "nonewprivs").
#include <stdio.h>
#include <unistd.h>

int main() { return ::printf("Effective uid: %u\n", ::geteuid()) < 0 ? 1 : 0; }
