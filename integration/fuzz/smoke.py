#!/usr/bin/env python3
"""make fuzz-smoke: every libFuzzer target for a while from its checked-in corpus. A finding is kept under build/fuzz/findings
and named; copy it into integration/fuzz/<target>/ with the fix."""
import argparse
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build/fuzz")


def build(names):
    subprocess.run(["cmake", "--preset", "fuzz"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    known = open(os.path.join(BUILD, "fuzzers.txt")).read().split()
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no such fuzz target: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chosen = names or known
    subprocess.run(["ninja", "-C", BUILD, "--quiet", *chosen], check=True)
    return chosen


def program(name):
    for folder, _, files in os.walk(BUILD):
        if name in files and os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    sys.exit(f"{name}: not built")


def fuzz(name, seconds):
    """One line, and whether the target survived. New inputs stay in build/: the checked-in corpus changes by hand only."""
    corpus = os.path.join(ROOT, "integration/fuzz", name)
    grown, found = os.path.join(BUILD, "corpus", name), os.path.join(BUILD, "findings", name)
    os.makedirs(grown, exist_ok=True)
    os.makedirs(found, exist_ok=True)
    if not os.path.isdir(corpus) or not os.listdir(corpus):
        print(f"FAIL {name}: no corpus in integration/fuzz/{name}", flush=True)
        return False
    started = time.monotonic()
    run = subprocess.run([program(name), f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
                          f"-artifact_prefix={found}/", grown, corpus], capture_output=True, text=True, errors="replace")
    units = [l.split()[-1] for l in run.stderr.splitlines() if l.startswith("stat::number_of_executed_units")]
    ok = run.returncode == 0
    print(f"{'ok  ' if ok else 'FAIL'} {name}: {units[0] if units else '?'} runs in {time.monotonic() - started:.0f} s", flush=True)
    if not ok:
        print("\n".join(run.stderr.splitlines()[-40:]), flush=True)
    return ok


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seconds", type=int, default=60)
    args.add_argument("targets", nargs="*")
    args = args.parse_args()
    results = [fuzz(name, args.seconds) for name in build(args.targets)]
    print(f"{sum(results)} clean, {len(results) - sum(results)} failed")
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
