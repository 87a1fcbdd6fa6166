// A process that runs one tiny guest and nothing else: `bare_vmm`, /dev/kvm as 3, the
// kernel as 4.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "test/bench/vmm/bare_machine.h"

namespace pepita::bench {
namespace {

Result<void> run(Bytes memory) {
    std::vector<std::byte> kernel(TRY(file_size(FdRef(4))).value());
    TRY(read_exactly(FdRef(4), kernel, 0));
    BareMachine machine = TRY(BareMachine::create(FdRef(3), memory, CreationOrder::Ours));
    return machine.run(kernel);
}

}  // namespace
}  // namespace pepita::bench

int main() {
    using pepita::operator""_MiB;
    const auto done = pepita::bench::run(128_MiB);
    if (!done) {
        (void)std::fprintf(stderr, "bare_vmm: %s\n", done.error().message().c_str());
    }
    // As pepita-vmm does: the kernel takes down what is left.
    std::_Exit(done ? EXIT_SUCCESS : EXIT_FAILURE);
}
