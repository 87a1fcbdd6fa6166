#!/usr/bin/env python3
"""Writes the scheduler's data structures with one fault each, for the model test to find.

Usage: mutants.py SOURCE_ROOT OUTPUT. Exit 1 if a mutant's text is no longer in its header once.
"""
import pathlib
import sys

DEQUE, QUEUE, SLEEPERS = "split_deque.h", "inject_queue.h", "sleepers.h"
MUTANTS = (  # namespace, header, the text, what replaces it
    ("slot_read_before_exchange", DEQUE, "        // Acquires what share() released.\n",
     "        Item* early = slots_.get()[tail].load(std::memory_order_relaxed);\n"),
    ("reclaim_without_exchange", DEQUE,
     "word_.compare_exchange_weak(word, pack(tail_of(word), below),\n"
     "                                            std::memory_order_acq_rel, std::memory_order_relaxed)",
     "(word_.store(pack(tail_of(word), below), std::memory_order_release), true)"),
    ("steal_without_exchange", DEQUE,
     "!word_.compare_exchange_strong(word, word + 1, std::memory_order_seq_cst,\n"
     "                                           std::memory_order_relaxed)",
     "(word_.store(word + 1, std::memory_order_release), false)"),
    ("split_not_retracted", DEQUE, "        split_ = head_;\n", ""),
    ("word_not_retracted", DEQUE, "        word_.store(pack(depth, depth), std::memory_order_relaxed);\n", "        (void)depth;\n"),
    ("all_stolen_forgotten", DEQUE, "while (tail_of(word) != split_of(word)) {", "while (true) {"),
    ("shares_too_much", DEQUE, "(head_ - split_ + 1) / 2);", "head_ - split_ + 1);"),
    ("request_cleared_late", DEQUE, "        wanted_.exchange(0, std::memory_order_seq_cst);\n", ""),
    ("queue_publishes_late", QUEUE, "cell.turn.store(writable + 1, std::memory_order_seq_cst);",
     "cell.turn.store(writable + 1, std::memory_order_release);"),
    ("queue_frees_early", QUEUE,
     "                    Item* item = cell.item.load(std::memory_order_relaxed);\n"
     "                    cell.turn.store(readable + 1, std::memory_order_seq_cst);\n",
     "                    cell.turn.store(readable + 1, std::memory_order_seq_cst);\n"
     "                    Item* item = cell.item.load(std::memory_order_relaxed);\n"),
    ("queue_claims_without_exchange", QUEUE,
     "head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed,\n"
     "                                                std::memory_order_relaxed)",
     "(head_.store(at + 1, std::memory_order_relaxed), true)"),
    ("announce_without_fence", SLEEPERS, "idle_[worker / 64].fetch_or(bit(worker), std::memory_order_seq_cst);",
     "idle_[worker / 64].store(bit(worker), std::memory_order_release);"),
    ("wake_up_lost", SLEEPERS, "        woken.store(1, std::memory_order_release);  // pairs with acquire in await_wake()\n", ""),
    ("claim_without_exchange", SLEEPERS,
     "            idle_[worker / 64].fetch_and(~bit(worker), std::memory_order_seq_cst);\n"
     "        if ((before & bit(worker)) == 0) {",
     "            idle_[worker / 64].load(std::memory_order_seq_cst);\n"
     "        if ((before & bit(worker)) == 0) {"),
    ("token_left_behind", SLEEPERS, "        await_wake(worker);  // the wake-up is on its way\n", ""),
)
# What else must change for the mutant to compile and mean what its name says.
ALSO = {
    "request_cleared_late": ("        split_ += count;\n", "        split_ += count;\n        wanted_.store(0, std::memory_order_relaxed);\n"),
    "slot_read_before_exchange": ("        return slots_.get()[tail].load(std::memory_order_relaxed);", "        return early;"),
}


def replaced(text: str, old: str, new: str, name: str) -> str:
    if text.count(old) != 1:
        sys.exit(f"mutants.py: {name}: its text is there {text.count(old)} times")
    return text.replace(old, new)


def main() -> None:
    root, output = map(pathlib.Path, sys.argv[1:])
    parts = ["#pragma once\n"]
    for name, header, old, new in MUTANTS:
        text = (root / "compute/scheduler" / header).read_text().replace("#pragma once\n", "")
        text = replaced(text, old, new, name)
        if name in ALSO:
            text = replaced(text, *ALSO[name], name)
        text = text.replace("namespace pepita::compute {", f"namespace pepita::compute::{name} {{")
        parts.append(text.replace("}  // namespace pepita::compute", f"}}  // namespace pepita::compute::{name}"))
    output.write_text("\n".join(parts))


main()
