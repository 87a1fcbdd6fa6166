// How long an image takes to be ready when the store has it: ready_bench STORE NAME. Prints
// microseconds of the median and the worst of 200 times, with all its files opened and locked.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <utility>
#include <vector>

#include "storage/image_store.h"

int main(int argc, char** argv) {
    namespace storage = pepita::storage;
    if (argc != 3) {
        return 2;
    }
    const auto store = storage::ImageStore::open(argv[1]);
    if (!store) {
        (void)std::fprintf(stderr, "%s\n", store.error().message().c_str());
        return 1;
    }
    const auto info = (*store)->find(argv[2]);
    if (!info || !info->has_value()) {
        (void)std::fprintf(stderr, "no such image\n");
        return 1;
    }
    std::vector<double> times(200);
    for (double& time : times) {
        const auto begin = std::chrono::steady_clock::now();
        auto open = (*store)->use((*info)->id);
        if (!open || !storage::image_disk(std::move(*open))) {
            return 1;
        }
        time = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
                   .count();
    }
    std::ranges::sort(times);
    (void)std::printf("ready: median %.0f us, worst %.0f us\n", times[times.size() / 2],
                      times.back());
    return 0;
}
