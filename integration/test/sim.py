#!/usr/bin/env python3
"""make sim: random simulations. Each seed is run twice, and the two traces must hash alike; of a fleet (--nodes) one in ten, as many at a
time as there are processors. The program's own checks must hold. A failing line is its own replay command."""
import argparse
import concurrent.futures
import os
import secrets
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import steps

RUN_SECONDS_MAX = 600


def once(program, options):
    r = subprocess.run([program, *options], capture_output=True, text=True, errors="replace", timeout=RUN_SECONDS_MAX)
    return r.returncode, r.stdout.strip().splitlines()[-1:] or [""], r.stderr


def judge(name, options, twice):
    program = steps.find_program("build/release", name)
    code, trace, err = once(program, options)
    if code:
        return f"exit status {code}: {steps.tail(err, 5)}"
    return "two runs of one seed left different traces" if twice and once(program, options)[1] != trace else ""


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seeds", type=int, default=20)
    args.add_argument("--seed", type=int)
    args.add_argument("--nodes", type=int, default=0, help="a fleet of so many; without: a few")
    args = args.parse_args()
    names = steps.listed("integration/test/sims.txt")
    if names:
        steps.build("release", *names)
    seeds = [args.seed] if args.seed is not None else [secrets.randbits(48) for _ in range(args.seeds)]
    fleet = ["--nodes", str(args.nodes)] if args.nodes else []
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() if fleet else 1) as pool:
        runs = [(n, ["--seed", str(s), *fleet], not fleet or i % 10 == 0) for n in names for i, s in enumerate(seeds)]
        for (name, options, _), why in zip(runs, pool.map(lambda r: judge(*r), runs)):
            failed += bool(why)
            print(f"{'FAIL' if why else 'ok'} {name} {' '.join(options)}{': ' + why if why else ''}", flush=True)
    print(f"{len(runs) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
