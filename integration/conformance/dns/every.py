#!/usr/bin/env python3
"""every.py [--build DIR] [CONFIG...]: all cases of cases.json and more_cases.json against integration/dns-serve, one server per configuration. Exit status 1 if
a case fails or differs."""
import argparse
import json
import os
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = os.path.join(HERE, "cases.json")
MORE = os.path.join(HERE, "more_cases.json")  # on the objects and configurations of the first


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(at, config, cases):
    r = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), at, "--config", config, "--cases", cases], stdout=subprocess.PIPE, text=True, timeout=120)
    print(r.stdout, end="", flush=True)
    return r.returncode == 0 and r.stdout.rstrip().endswith(" 0 differ")


def judge(build, config):
    at = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen([os.path.join(HERE, "..", "..", "dns-serve"), "--build", build, CASES, at, config], stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if line.startswith("serving"):
                break
        else:
            print(f"FAIL    {config}: the server did not start")
            return False
        return all([run(at, config, cases) for cases in (CASES, MORE)])
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--build", default="build/release")
    args.add_argument("configs", nargs="*")
    a = args.parse_args()
    with open(CASES) as f:
        names = a.configs or list(json.load(f)["configs"])
    sys.exit(0 if all([judge(a.build, n) for n in names]) else 1)
