#!/usr/bin/env python3
"""make sim: random simulations, each seed run twice; the two traces must hash alike, and the program's own checks must hold.
A failing line is its own replay command."""
import argparse
import os
import secrets
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import steps


def once(program, seed):
    r = subprocess.run([program, "--seed", str(seed)], capture_output=True, text=True, errors="replace", timeout=120)
    return r.returncode, r.stdout.strip().splitlines()[-1:] or [""], r.stderr


def judge(name, seed):
    program = steps.find_program("build/release", name)
    code, trace, err = once(program, seed)
    if code:
        return f"exit status {code}: {steps.tail(err, 5)}"
    return "" if once(program, seed)[1] == trace else "two runs of one seed left different traces"


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seeds", type=int, default=20)
    args.add_argument("--seed", type=int)
    args = args.parse_args()
    names = steps.listed("integration/test/sims.txt")
    if names:
        steps.build("release", *names)
    seeds = [args.seed] if args.seed is not None else [secrets.randbits(48) for _ in range(args.seeds)]
    failed = 0
    for name in names:
        for seed in seeds:
            why = judge(name, seed)
            failed += bool(why)
            print(f"{'FAIL' if why else 'ok'} {name} --seed {seed}{': ' + why if why else ''}", flush=True)
    print(f"{len(names) * len(seeds) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
