#!/usr/bin/env python3
"""make test: everything, in order, one line per step with its seconds; ends with `N passed, N failed`. A skipped test is a failed
test. `run.py STEP...` runs only those steps; `run.py --list` names them."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import steps
import world

STEPS = [
    ("checks", "layers, forbidden calls, stray paths, file sizes, metrics page, refused compilers", steps.tree_checks),
    ("unit", "unit tests, release build", lambda: steps.unit_tests("release")),
    ("linked", "no OpenSSL among the linked libraries", steps.linked_check),
    ("dns", "the name server's cases under every configuration", steps.dns_cases),
    ("accept", "acceptance scenarios in network namespaces", steps.acceptance),
    ("demo", "the demo, and each sabotage failing at its step", steps.demo),
    ("sim", "random simulations, 20 fresh seeds of a few nodes and 20 of 50", steps.simulations),
    ("asan", "unit tests and fuzz corpora, asan + ubsan", lambda: steps.unit_tests("asan-ubsan")),
    ("asan-demo", "one whole demo, asan + ubsan", steps.asan_demo),
    ("tsan", "loop, snapshots and workers, tsan", steps.tsan),
    ("arm64", "sans-I/O folders for arm64 under qemu", lambda: steps.arm("arm64", "qemu-aarch64-static")),
    ("armhf", "sans-I/O folders for armhf under qemu", lambda: steps.arm("armhf", "qemu-arm-static")),
]


def run_step(name, what, function):
    """-> (passed, failed). A step that raises counts as one failure, with the reason on its line."""
    started = time.monotonic()
    try:
        passed, failures = function()
    except steps.Broken as e:
        passed, failures = 0, [str(e)]
    verdict = "FAIL" if failures or not passed else "ok  "
    print(f"{verdict} {name:<10} {time.monotonic() - started:6.1f} s  {passed} passed, {len(failures)} failed  ({what})", flush=True)
    for f in failures:
        print("       " + f.rstrip().replace("\n", "\n       "), flush=True)
    return passed, max(len(failures), 0 if passed else 1)


def main():
    wanted = sys.argv[1:]
    if wanted == ["--list"]:
        for name, what, _ in STEPS:
            print(f"{name:<10} {what}")
        return
    unknown = set(wanted) - {s[0] for s in STEPS}
    if unknown:
        sys.exit(f"no such step: {', '.join(sorted(unknown))}; see {sys.argv[0]} --list")
    world.enter()
    os.chdir(steps.ROOT)
    chosen = [s for s in STEPS if (not wanted or s[0] in wanted) and (s[0] != "sim" or steps.listed("integration/test/sims.txt"))]
    totals = [run_step(*s) for s in chosen]
    passed, failed = sum(t[0] for t in totals), sum(t[1] for t in totals)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
