// A plugin of QEMU's TCG that counts a guest's instructions. test/bench/vmm/boot.py loads it.
//
// Debian has no package with qemu-plugin.h, so the few functions that are used are declared here.
// Source: QEMU 7.2 include/qemu/qemu-plugin.h.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string_view>

#include "test/bench/vmm/instruction_count.h"

// NOLINTBEGIN(readability-identifier-naming): QEMU's names.
extern "C" {
struct qemu_plugin_tb;
struct qemu_info_t;
using qemu_plugin_id_t = std::uint64_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

std::size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* block);
std::uint64_t qemu_plugin_tb_vaddr(const qemu_plugin_tb* block);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t, qemu_plugin_tb*));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb* block, qemu_plugin_op op,
                                              void* counter, std::uint64_t addend);

__attribute__((visibility("default"))) extern const int qemu_plugin_version;
const int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t* info, int count,
                                                               char** arguments);
}

namespace {

using pepita::bench::InstructionCounts;

constexpr std::uint64_t kKernelHalf = 0xffff'8000'0000'0000;
// The entry by PVH runs some code at the kernel's own addresses, then returns to physical ones.
constexpr std::uint64_t kEntryInstructions = 1'000'000;
constexpr std::string_view kOutput = "output=";

// A callback of the plugin interface has no argument of its own.
InstructionCounts* counts = nullptr;

void on_translate(qemu_plugin_id_t /*id*/, qemu_plugin_tb* block) {
    const std::uint64_t address = qemu_plugin_tb_vaddr(block);
    // Firmware, decompressor and the kernel's first steps run at physical addresses, which look
    // like init's; after those nothing of the lower half runs before init.
    if (address >= kKernelHalf) {
        if (counts->kernel_entry == 0) {
            counts->kernel_entry = counts->total;
        }
    } else if (counts->kernel_entry != 0 && counts->init_entry == 0 &&
               counts->total - counts->kernel_entry > kEntryInstructions) {
        counts->init_entry = counts->total;
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counts->total,
                                             qemu_plugin_tb_n_insns(block));
}

InstructionCounts* map_counts(const char* path) {
    const int file = ::open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        return nullptr;
    }
    void* const mapped =
        ::mmap(nullptr, sizeof(InstructionCounts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    // SAFETY: the bench made the file as large as the struct, zeroed.
    return mapped == MAP_FAILED ? nullptr : static_cast<InstructionCounts*>(mapped);
}

}  // namespace

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* /*info*/, int count,
                        char** arguments) {
    const std::string_view output = count == 1 ? arguments[0] : "";
    if (output.starts_with(kOutput)) {
        counts = map_counts(arguments[0] + kOutput.size());
    }
    if (counts == nullptr) {
        (void)std::fputs("instruction_count_plugin: output=FILE must name the file of counts\n",
                         stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    return 0;
}
// NOLINTEND(readability-identifier-naming)
