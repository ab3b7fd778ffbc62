"""Scenarios register here: a name, what its figure counts, and the limit it must keep. A scenario gets a fresh lab and returns the
figure; whatever it finds wrong on the way it says through Findings."""
import importlib
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import Callable

from lab import Lab, LabError

MODULES = [
    "one_node",
    "balance",
    "ownership",
    "bad_input",
    "two_nodes",
    "guard",
    "health",
    "api_source",
    "real_api",
    "closed",
    "install",
    "trust",
    "native",
    "restart",
    "clock",
    "faults",
    "hostile",
    "meta_tls",
    "relay",
    "nat_matrix",
    "nat_topo",
    "tcp_fallback",
    "path_mtu",
    "resume",
    "dns_clients",
    "dns_faults",
    "dns_restart",
    "dns_upstreams",
    "booted",
    "container",
    "thread_faults",
    "lan_discovery",
    "tunnel_silent",
    "tunnel_survives",
    "tunnel_trust",
    "tunnel_scale",
    "tunnel_keys",
    "socks5",
]
SCENARIOS = {}
OPTIONS = {"passes": 0, "shard": (1, 1), "patience": 1}  # of the command line; patience stretches the time a scenario may take


@dataclass
class Scenario:
    name: str
    what: str
    unit: str
    limit: str      # "<=3" or ">=200" or "=0"
    run: Callable
    seconds: int
    why: str
    at_once: int   # how many may run at a time with this one: 1, it measures load or milliseconds; 2, a few, it measures seconds; 0, any
    by_name: bool  # takes too long for make test, which leaves it out


def scenario(name, unit, limit, seconds=60, why="", at_once=0, by_name=False):
    def register(function):
        SCENARIOS[name] = Scenario(name, (function.__doc__ or "").split("\n")[0], unit, limit, function, seconds, why, at_once, by_name)
        return function
    return register


def load():
    for m in MODULES:
        importlib.import_module(m)
    return SCENARIOS


def holds(figure, limit):
    for op, test in (("<=", lambda a, b: a <= b), (">=", lambda a, b: a >= b), ("=", lambda a, b: a == b)):
        if limit.startswith(op):
            return test(figure, float(limit[len(op):]))
    raise ValueError(limit)


class Findings(list):
    """Things that were wrong; len() is the figure of scenarios that count failures."""

    def check(self, fine, text):
        if not fine:
            self.append(text)
        return fine

    def same(self, got, want, what):
        if isinstance(want, str) and "\n" in want:
            a, b = got.splitlines(), want.splitlines()
            more, less = [x for x in a if x not in b], [x for x in b if x not in a]
            return self.check(got == want, f"{what}: too much: {more[:4]}; missing: {less[:4]}" if more or less else f"{what}: other order or count")
        return self.check(got == want, f"{what}: {got!r}, expected {want!r}")


class Late(Exception):
    pass


def late(*_):
    raise Late


def judge(s, build):
    """Runs one scenario, prints its line, -> whether it passed."""
    found, figure, trouble = Findings(), None, ""
    signal.signal(signal.SIGALRM, late)
    try:
        with Lab(f"accept-{s.name}", build) as lab:
            signal.alarm(s.seconds * OPTIONS["patience"])
            try:
                figure = s.run(lab, found)
            except Late:
                trouble = f"not done after {s.seconds} s"
            except LabError as e:
                trouble = str(e)
            except Exception:  # a scenario's own mistake must not look like a pass, nor stop the others
                trouble = traceback.format_exc()
            signal.alarm(0)
            if trouble or found:
                trouble += "".join(f"\n{n.name} log: {n.last_log(6)}" for n in lab.nodes.values() if n.last_log())
    except LabError as e:
        trouble = str(e)
    if figure is None and not trouble.startswith("not done") and not trouble:
        figure = len(found)
    passed = figure is not None and holds(figure, s.limit) and not found
    print(f"{'PASS' if passed else 'FAIL'} {s.name} {'-' if figure is None else f'{figure:.4g}'} {s.unit} {s.limit}", flush=True)
    for line in ([] if passed else [*found[:12], *trouble.strip().splitlines()[-25:]]):
        print("     " + line, file=sys.stderr, flush=True)
    return passed
