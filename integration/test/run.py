#!/usr/bin/env python3
"""make test: everything, in order, one line per step with its seconds; ends with `N passed, N failed`. A skipped test is a failed
test. `run.py STEP...` runs only those steps; `run.py --list` names them."""
import concurrent.futures
import dataclasses
import itertools
import os
import sys
import time
from dataclasses import dataclass
from typing import Callable

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "netns"))
import steps
import world


@dataclass
class Step:
    name: str
    what: str
    run: Callable               # -> (number passed, [failures])
    prepare: Callable = None    # builds what it runs
    together: str = ""          # steps that follow each other with the same word run side by side: they mostly wait, or are at nice 19


STEPS = [
    Step("checks", "layers, forbidden calls, stray paths, file sizes, metrics page, refused compilers", steps.tree_checks),
    Step("unit", "unit tests, release build", lambda: steps.unit_tests("release")),
    Step("linked", "no OpenSSL among the linked libraries", steps.linked_check),
    Step("dns", "the name server's cases under every configuration", steps.dns_cases),
    Step("accept", "acceptance scenarios in network namespaces", steps.acceptance),
    Step("demo", "the demo, and each sabotage failing at its step", steps.demo, steps.build_demo, "demo and sim"),
    Step("sim", "random simulations, 20 fresh seeds of a few nodes and 20 of 50", steps.simulations, steps.build_sims, "demo and sim"),
    Step("asan", "unit tests and fuzz corpora, asan + ubsan", lambda: steps.unit_tests("asan-ubsan")),
    Step("asan-demo", "one whole demo, asan + ubsan", steps.asan_demo, steps.build_asan_demo, "the last"),
    Step("tsan", "loop, snapshots and workers, tsan", steps.tsan, steps.build_tsan, "the last"),
    Step("arm64", "sans-I/O folders for arm64 under qemu", lambda: steps.arm("arm64", "qemu-aarch64-static"), lambda: steps.build_arm("arm64"), "the last"),
    Step("armhf", "sans-I/O folders for armhf under qemu", lambda: steps.arm("armhf", "qemu-arm-static"), lambda: steps.build_arm("armhf"), "the last"),
]


def run_step(step):
    """-> (passed, failed). A step that raises counts as one failure, with the reason on its line."""
    started = time.monotonic()
    try:
        passed, failures = step.run()
    except steps.Broken as e:
        passed, failures = 0, [str(e)]
    verdict = "FAIL" if failures or not passed else "ok  "
    lines = [f"{verdict} {step.name:<10} {time.monotonic() - started:6.1f} s  {passed} passed, {len(failures)} failed  ({step.what})"]
    lines += ["       " + f.rstrip().replace("\n", "\n       ") for f in failures]
    print("\n".join(lines), flush=True)
    return passed, max(len(failures), 0 if passed else 1)


def prepare(group):
    """Builds one after the other, so that no test runs beside a compiler; what does not build is one failure of its step."""
    for step in group:
        started = time.monotonic()
        try:
            if step.prepare:
                step.prepare()
            if time.monotonic() - started > 10:
                print(f"     {step.name}: built in {time.monotonic() - started:.0f} s", flush=True)
            yield step
        except steps.Broken as e:
            yield dataclasses.replace(step, run=lambda why=str(e): (0, [why]))


def run_all(chosen):
    totals = []
    for _, group in itertools.groupby(chosen, lambda s: s.together or s.name):
        ready = list(prepare(list(group)))
        with concurrent.futures.ThreadPoolExecutor(len(ready)) as pool:
            totals += pool.map(run_step, ready)
    return totals


def main():
    wanted = sys.argv[1:]
    if wanted == ["--list"]:
        for step in STEPS:
            print(f"{step.name:<10} {step.what}")
        return
    unknown = set(wanted) - {s.name for s in STEPS}
    if unknown:
        sys.exit(f"no such step: {', '.join(sorted(unknown))}; see {sys.argv[0]} --list")
    world.enter()
    os.chdir(steps.ROOT)
    totals = run_all([s for s in STEPS if not wanted or s.name in wanted])
    passed, failed = sum(t[0] for t in totals), sum(t[1] for t in totals)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
